"""Train and test as a config of mmengine says, in its own Runner, and carry weights between the toolboxes."""

from pathlib import Path
from typing import Any

import torch
import yaml
from mmengine.config import Config
from mmengine.runner import Runner
from torch import Tensor

from msgnn_plugin.adapters.mmengine.compat.checkpoint_loading import load_from_local
from msgnn_plugin.archs import from_state_dict, load_weights
from msgnn_plugin.archs.state_dict import unwrap
from msgnn_plugin.data.atomic import atomic_path

GENERATOR = "generator."


def train(
    config: str, *, settings: list[str], work_dir: str | None = None, resume: bool = False, weights: str | None = None
) -> None:
    """Train.

    Args:
        config: A config of mmengine; as a Python file it is run.
        settings: "KEY=VALUE" with dotted keys, put over the config; values are YAML.
        work_dir: Where checkpoints and logs go instead of the config's place.
        resume: Whether to go on from the newest checkpoint there; without one, training starts anew.
        weights: Weights of the network to start from, of any toolbox.

    Raises:
        ValueError: If the config, a setting or the weights are not usable.
    """
    runner = build_runner(config, settings, work_dir, resume)
    if weights is not None:
        load_generator(runner.model, weights)
    runner.train()


def test(config: str, weights: str, *, settings: list[str], work_dir: str | None) -> dict[str, float]:
    """Measure weights of any toolbox by the config's ``test_evaluator``; arguments and errors are those of `train`.

    Returns:
        The metrics by name.
    """
    runner = build_runner(config, settings, work_dir, resume=False)
    load_generator(runner.model, weights)
    return runner.test()


def export_weights(checkpoint: str, output: str) -> None:
    """Write the network of a checkpoint as BasicSR keeps weights, for `basicsr restore` and any other program.

    Raises:
        ValueError: If it holds no network of ours.
        OSError: If the output cannot be written.
    """
    weights = read_generator(checkpoint)
    from_state_dict(weights)
    with atomic_path(output) as temporary:
        torch.save({"params": weights}, temporary)


def build_runner(config: str, settings: list[str], work_dir: str | None, resume: bool) -> Runner:
    """Return mmengine's Runner for a config; see `train`."""
    if not Path(config).is_file():
        raise FileNotFoundError(f"mmengine: CONFIG must be a file, got {config!r}, which is none.")
    try:
        content = Config.fromfile(config)
        content.merge_from_dict(dict(_setting(text) for text in settings))
        if work_dir is not None:
            content.work_dir = work_dir
        if resume:
            content.resume = True
        return Runner.from_cfg(content)
    except (KeyError, AssertionError, SyntaxError, AttributeError) as error:
        # What mmengine raises for a name it does not know, a missing section and the like.
        raise ValueError(f"{config}: {' '.join(str(error.args[0] if error.args else error).split())}") from error


def load_generator(model: torch.nn.Module, path: str) -> None:
    """Put weights of any toolbox into a model's network.

    Raises:
        ValueError: If they do not fit.
    """
    try:
        model.generator.load_state_dict(read_generator(path))
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
        return key, yaml.safe_load(value)
    except yaml.YAMLError as error:
        raise ValueError(f"mmengine: `--cfg-options` must have values in YAML, got {text!r}.") from error
