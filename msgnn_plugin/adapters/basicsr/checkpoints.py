"""Checkpoint files of a training run: written whole or not at all, found newest first."""

import io
import logging
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from msgnn_plugin.archs import load_weights
from msgnn_plugin.data.atomic import write_bytes_atomic

LEFTOVER = re.compile(r"\..+\.\d+\.[0-9a-f]{8}\.tmp")


def write_checkpoint(content: dict[str, Any], path: str | Path) -> None:
    """Write a checkpoint whole or not at all.

    It is made in memory first, so that a full disk is met while writing plain bytes and not inside the zip writer.

    Args:
        content: What `torch.save` takes.
        path: Where it goes.

    Raises:
        OSError: If it cannot be written; an older file of that name stays.
    """
    buffer = io.BytesIO()
    torch.save(content, buffer)
    write_bytes_atomic(path, buffer.getvalue())


def write_weights(weights: Mapping[str, Tensor], path: str | Path) -> None:
    """Write a network's weights alone, whole or not at all.

    Args:
        weights: Tensors by their names.
        path: A name in .safetensors, or in .pth, where they lie under BasicSR's key `params`.

    Raises:
        ImportError: If a .safetensors file is wanted and the package safetensors is missing.
        OSError: If it cannot be written; an older file of that name stays.
    """
    # Copies, for tensors that share memory or lie in another layout: safetensors takes neither.
    plain = {name: value.clone(memory_format=torch.contiguous_format) for name, value in weights.items()}
    if Path(path).suffix.lower() != ".safetensors":
        write_checkpoint({"params": plain}, path)
        return
    try:
        from safetensors.torch import save
    except ImportError as error:
        raise ImportError(
            "write_weights: .safetensors files need the package safetensors: `pip install safetensors`."
        ) from error
    write_bytes_atomic(path, save(plain, metadata={"format": "pt"}))


def remove_leftovers(folder: str | Path) -> None:
    """Remove what a killed process was writing under temporary names (see `msgnn_plugin.data.atomic`)."""
    for path in Path(folder).glob(".*"):
        if LEFTOVER.fullmatch(path.name):
            path.unlink(missing_ok=True)


def networks_beside(state: str | Path, iteration: int) -> dict[str, Path]:
    """Return the files of weights that belong to a state file of BasicSR's layout: "g" for ``net_g_ITERATION.pth``."""
    models = Path(state).parent.parent / "models"
    ending = f"_{iteration}.pth"
    return {path.name.removeprefix("net_").removesuffix(ending): path for path in models.glob(f"net_*{ending}")}


def newest_checkpoint(training_states: str | Path) -> Path | None:
    """Find the newest state that can be read, with the weights that belong to it.

    Args:
        training_states: Folder of ``ITERATION.state`` files.

    Returns:
        The state's path, or None where there is no state at all.

    Raises:
        ValueError: If there are states but no whole pair, for then starting anew would put the old run away unasked.
    """
    folder = Path(training_states)
    states = sorted((path for path in folder.glob("*.state") if path.stem.isdigit()), key=lambda path: -int(path.stem))
    for state in states:
        networks = networks_beside(state, int(state.stem))
        try:
            if "g" not in networks:
                raise FileNotFoundError(f"no net_g_{state.stem}.pth belongs to it")
            for file in (state, *networks.values()):
                load_weights(file)
        except (ValueError, FileNotFoundError) as error:
            logging.getLogger("msgnn_plugin").warning("Passing over %s: %s", state, error)
            continue
        return state
    if states:
        raise ValueError(
            f"{folder}: none of the {len(states)} states and its weights can be read. "
            "Leave out `--auto_resume` to start anew; the old run is then kept beside the new one."
        )
    return None
