"""The `hyper` buffer of MSGNN: settings that no tensor's shape tells, stored as integers inside the weights."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

VERSION = 1
CHANNEL_ATTENTIONS = (None, "gct", "eca", "se")
VARIANTS = ("official", "paper")
# Order of the buffer, after its version. Scales are a sum of their powers of two, a window of None is 0.
FIELDS = (
    "variant",
    "num_feat",
    "num_blocks",
    "num_groups",
    "scales",
    "use_exemplar",
    "channel_attention",
    "fusion_connection",
    "graph",
    "patch_size",
    "stride",
    "num_neighbors",
    "window_size",
)


def pack_hyper(settings: Mapping[str, Any]) -> Tensor:
    """Return the settings of an MSGNN as the int64 buffer of shape (1 + len(FIELDS),)."""
    codes = dict(settings)
    codes["variant"] = VARIANTS.index(settings["variant"])
    codes["channel_attention"] = CHANNEL_ATTENTIONS.index(settings["channel_attention"])
    codes["scales"] = sum(settings["scales"])
    codes["window_size"] = settings["window_size"] or 0
    return torch.tensor([VERSION, *(int(codes[field]) for field in FIELDS)], dtype=torch.int64)


def unpack_hyper(hyper: Tensor) -> dict[str, Any]:
    """Return the settings as constructor keywords.

    Raises:
        ValueError: If the buffer is of another version or broken.
    """
    values = hyper.tolist() if hyper.dim() == 1 else []
    if len(values) != 1 + len(FIELDS) or values[0] != VERSION:
        raise ValueError(
            f"MSGNNArch: `hyper` must hold version {VERSION} and {len(FIELDS)} settings, got {values}; "
            "these weights come from another version of msgnn_plugin."
        )
    settings: dict[str, Any] = dict(zip(FIELDS, (int(value) for value in values[1:]), strict=True))
    for field, names in (("variant", VARIANTS), ("channel_attention", CHANNEL_ATTENTIONS)):
        if not 0 <= settings[field] < len(names):
            raise ValueError(
                f"MSGNNArch: `{field}` in `hyper` must be a code in [0, {len(names) - 1}], got {settings[field]}."
            )
        settings[field] = names[settings[field]]
    settings["scales"] = tuple(
        1 << bit for bit in range(settings["scales"].bit_length()) if settings["scales"] >> bit & 1
    )
    settings["window_size"] = settings["window_size"] or None
    for field in ("use_exemplar", "fusion_connection", "graph"):
        settings[field] = bool(settings[field])
    return settings
