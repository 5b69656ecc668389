"""Train and test as a config of mmengine says, in its own Runner, and carry weights between the toolboxes."""

import ast
import contextlib
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from mmengine.config import Config
from mmengine.model import is_model_wrapper
from mmengine.runner import Runner
from torch import Tensor

from msgnn_plugin.adapters.basicsr.checkpoints import write_weights
from msgnn_plugin.adapters.mmengine.compat.checkpoint_loading import load_from_local
from msgnn_plugin.archs import from_state_dict, load_weights
from msgnn_plugin.archs.state_dict import unwrap

GENERATOR = "generator."
UNKNOWN_TYPE = re.compile(r"(\S+) is not in the \S+::(.+) registry")
WORDS = {"true": True, "false": False, "none": None, "null": None}


def train(
    config: str, *, settings: list[str], work_dir: str | None = None, resume: bool = False, weights: str | None = None
) -> None:
    """Train.

    Args:
        config: A config of mmengine; as a Python file it is run.
        settings: "KEY=VALUE" with dotted keys, put over the config; values are Python's literals or plain text.
        work_dir: Where checkpoints and logs go instead of the config's place.
        resume: Whether to go on from the newest checkpoint there; without one, training starts anew.
        weights: Weights of the network to start from, of any toolbox.

    Raises:
        ValueError: If the config, a setting or the weights are not usable.
    """
    runner = build_runner(config, settings, work_dir, resume)
    if weights is not None:
        load_generator(runner.model, weights)
    with _told(config):
        runner.train()


def test(config: str, weights: str, *, settings: list[str], work_dir: str | None) -> dict[str, float]:
    """Measure weights of any toolbox by the config's ``test_evaluator``; arguments and errors are those of `train`.

    Returns:
        The metrics by name.
    """
    runner = build_runner(config, settings, work_dir, resume=False)
    load_generator(runner.model, weights)
    with _told(config):
        return runner.test()


def export_weights(checkpoint: str, output: str) -> None:
    """Write the network of a checkpoint by itself, for `basicsr restore` and any other program.

    Args:
        checkpoint: Of mmengine or MMagic.
        output: A name in .pth (as BasicSR keeps weights) or .safetensors.

    Raises:
        ValueError: If it holds no network of ours.
        OSError: If the output cannot be written.
    """
    weights = read_generator(checkpoint)
    from_state_dict(weights)
    write_weights(weights, output)


def build_runner(config: str, settings: list[str], work_dir: str | None, resume: bool) -> Runner:
    """Return mmengine's Runner for a config; see `train`."""
    if not Path(config).is_file():
        raise FileNotFoundError(f"mmengine: CONFIG must be a file, got {config!r}, which is none.")
    try:
        content = Config.fromfile(config)
    except (SyntaxError, NameError, KeyError, AttributeError) as error:
        raise ValueError(f"{config}: must be a config of mmengine, got {type(error).__name__}: {error}.") from error
    content.merge_from_dict(dict(_setting(text) for text in settings))
    if work_dir is not None:
        content.work_dir = work_dir
    if resume:
        content.resume = True
    missing = next((name for name in ("model", "work_dir") if name not in content), None)
    if missing is not None:
        raise ValueError(f"{config}: `{missing}` must be given, got nothing.")
    with _told(config):
        return Runner.from_cfg(content)


@contextlib.contextmanager
def _told(config: str) -> Iterator[None]:
    """Turn what mmengine raises for an unusable config into one sentence."""
    try:
        yield
    except AssertionError as error:
        raise ValueError(f"{config}: {' '.join(str(error).split())}") from error
    except KeyError as error:
        unknown = UNKNOWN_TYPE.match(str(error.args[0])) if error.args else None
        if unknown is None:
            raise
        raise ValueError(
            f"{config}: `type` of a {unknown[2]} must be a registered name, got {unknown[1]!r}; look at its spelling, "
            "or import its module in `custom_imports`."
        ) from error


def load_generator(model: torch.nn.Module, path: str) -> None:
    """Put weights of any toolbox into a model's network.

    Raises:
        ValueError: If they do not fit.
    """
    network = (model.module if is_model_wrapper(model) else model).generator
    try:
        network.load_state_dict(read_generator(path))
    except RuntimeError as error:
        first_lines = " ".join(str(error).split("\n\t")[:2]).strip()
        raise ValueError(f"{path}: the weights do not fit `model.generator`: {first_lines}") from error


def read_generator(path: str) -> dict[str, Tensor]:
    """Return the network's weights from a checkpoint of mmengine or MMagic, of BasicSR, or from plain weights."""
    content = load_weights(path) if path.endswith(".safetensors") else load_from_local(path, "cpu")
    weights = unwrap(content)
    inside = {name.removeprefix(GENERATOR): value for name, value in weights.items() if name.startswith(GENERATOR)}
    return inside or weights


def _setting(text: str) -> tuple[str, Any]:
    key, equals, value = text.partition("=")
    if not key or not equals:
        raise ValueError(f"mmengine: `--cfg-options` must be KEY=VALUE, got {text!r}.")
    try:
        return key, ast.literal_eval(value)
    except (ValueError, SyntaxError):
        return key, WORDS.get(value.lower(), value)
