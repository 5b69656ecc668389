"""The `hyper` buffer of UniRain: settings that no tensor's shape tells, stored as integers inside the weights."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

VERSION = 1
ROUTINGS = ("soft", "hard")
LEVELS = 4
# Order of the buffer, after its version. Those of `LEVELS` numbers take as many places; a factor is in thousandths.
FIELDS = (
    "num_feat",
    "num_blocks",
    "num_refinement",
    "num_heads",
    "ffn_factor",
    "num_experts",
    "top_k",
    "encoder_routing",
    "decoder_routing",
    "expert_blocks",
)
LENGTH = 1 + len(FIELDS) + 2 * (LEVELS - 1)


def pack_hyper(settings: Mapping[str, Any]) -> Tensor:
    """Return the settings of a UniRain as the int64 buffer of shape (LENGTH,)."""
    values = [VERSION]
    for field in FIELDS:
        value = settings[field]
        if field in ("num_blocks", "num_heads"):
            values += value
        elif field == "ffn_factor":
            values.append(round(1000 * value))
        else:
            values.append(ROUTINGS.index(value) if isinstance(value, str) else value)
    return torch.tensor(values, dtype=torch.int64)


def unpack_hyper(hyper: Tensor) -> dict[str, Any]:
    """Return the settings as constructor keywords.

    Raises:
        ValueError: If the buffer is of another version or broken.
    """
    values = [int(value) for value in hyper.tolist()] if hyper.dim() == 1 else []
    if len(values) != LENGTH or values[0] != VERSION:
        raise ValueError(
            f"UniRainArch: `hyper` must hold version {VERSION} and {LENGTH - 1} numbers, got {values}; "
            "these weights come from another version of msgnn_plugin."
        )
    numbers = iter(values[1:])
    settings: dict[str, Any] = {}
    for field in FIELDS:
        if field in ("num_blocks", "num_heads"):
            settings[field] = tuple(next(numbers) for _ in range(LEVELS))
        elif field == "ffn_factor":
            settings[field] = next(numbers) / 1000
        else:
            settings[field] = next(numbers)
    for field in ("encoder_routing", "decoder_routing"):
        if settings[field] not in range(len(ROUTINGS)):
            raise ValueError(f"UniRainArch: `{field}` in `hyper` must be 0 or 1, got {settings[field]}.")
        settings[field] = ROUTINGS[settings[field]]
    return settings
