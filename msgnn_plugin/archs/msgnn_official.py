"""Reading the authors' MSGNN checkpoints: what their tensors tell, and which of ours each one is."""

import re
from collections.abc import Mapping
from typing import Any

from torch import Tensor

# (their name, ours), tried in this order; a graph is 1, 2, 4 or guide.
RENAMES = tuple(
    (re.compile(pattern + r"(?=\.|$)"), ours)
    for pattern, ours in (
        (r"^convert_rainy(?=\.(?:weight|bias)$)", "stem"),
        (r"^convert_(?:rainy)?(\w+)\.0", r"branches.<\1>.0"),
        (r"^convert_(?:rainy)?(\w+)\.2\.units\.(\d+)\.res\.(\d)", r"branches.<\1>.2.units.\2.body.\3"),
        (r"^convert_(?:rainy)?(\w+)\.2\.conv1x1\.(\d+)\.0", r"branches.<\1>.2.merges.\2.0"),
        (r"^res_group\.(\d+)\.units\.(\d+)\.avg_eca", r"groups.\1.units.\2.attention"),
        (r"^res_group\.(\d+)\.units\.(\d+)\.res\.(\d)", r"groups.\1.units.\2.body.\3"),
        (r"^res_group\.(\d+)\.conv1x1\.(\d+)\.0", r"groups.\1.merges.\2.0"),
        (r"^res_group\.(\d+)\.conv_fusion\.0", r"groups.\1.fusion.0"),
        (r"^graph_(\w+)\.embedcnn1\.0\.0", r"graphs.<\1>.embed_database.0"),
        (r"^graph_(\w+)\.embedcnn1\.1\.0", r"graphs.<\1>.embed_database.2"),
        (r"^graph_(\w+)\.embedcnn1\.2\.0", r"graphs.<\1>.embed_database.4"),
        (r"^graph_(\w+)\.embedcnn2\.0\.0", r"graphs.<\1>.embed_query.0"),
        (r"^graph_(\w+)\.embedcnn2\.1\.0", r"graphs.<\1>.embed_query.2"),
        (r"^graph_(\w+)\.embedcnn2\.2\.0", r"graphs.<\1>.embed_query.4"),
        (r"^gcn_(\w+)\.weightnet_hr\.0\.0", r"graphs.<\1>.attention.first"),
        (r"^gcn_(\w+)\.weightnet_hr\.1\.body", r"graphs.<\1>.attention.body"),
        (r"^gcn_(\w+)\.weightnet_hr\.2\.0", r"graphs.<\1>.attention.last"),
        (r"^gcn_(\w+)\.knn_downsample\.(\d)\.0", r"graphs.<\1>.unused.\2"),
        (r"^gcn_(\w+)\.weightnet_lr\.0\.0", r"graphs.<\1>.unused.3.first"),
        (r"^gcn_(\w+)\.weightnet_lr\.1\.body", r"graphs.<\1>.unused.3.body"),
        (r"^gcn_(\w+)\.weightnet_lr\.2\.0", r"graphs.<\1>.unused.3.last"),
        (r"^fuse\.(\d+)\.(\d)", r"fusions.\1.\2"),
        (r"^out\.(\d)", r"head.\1"),
    )
)
# First convolutions read the image, the last one writes it: where the colour order shows.
READS_IMAGE = re.compile(r"^(stem|branches\.\w+\.0|graphs\.\w+\.embed_(?:database|query)\.0)\.weight$")
WRITES_IMAGE = re.compile(r"^head\.2\.(weight|bias)$")


def our_name(official: str) -> str:
    """Return our name of a tensor of the authors' network, such as ``res_group.0.units.1.res.2.bias``.

    Raises:
        ValueError: If the authors' network has no such tensor.
    """
    for pattern, ours in RENAMES:
        name, found = pattern.subn(ours, official)
        if found:
            return re.sub(r"<(\w+)>", lambda match: "exemplar" if match[1] == "guide" else f"scale{match[1]}", name)
    raise ValueError(
        f"MSGNNArch: `state_dict` must come from the authors' network, got an unknown tensor {official!r}."
    )


def convert_official(weights: Mapping[str, Tensor], channel_order: str) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Return the constructor keywords and our state dict for the authors' weights.

    Args:
        weights: Plain weights under the authors' names.
        channel_order: "bgr" to turn the image channels to RGB, "rgb" to leave them.

    Raises:
        ValueError: If a name is unknown, or ``channel_order`` is neither.
    """
    if channel_order not in ("bgr", "rgb"):
        raise ValueError(f'MSGNNArch: `channel_order` must be "bgr" or "rgb", got {channel_order!r}.')
    ours = {our_name(name): tensor for name, tensor in weights.items()}
    if "stem.weight" not in ours:
        raise ValueError(
            "MSGNNArch: `state_dict` must hold the authors' tensor convert_rainy.weight, got weights without it."
        )
    if channel_order == "bgr":
        for name, tensor in ours.items():
            if READS_IMAGE.match(name):
                ours[name] = tensor.flip(1)
            elif WRITES_IMAGE.match(name):
                ours[name] = tensor.flip(0)
    graphs = _parts(ours, r"graphs\.(\w+)\.")
    settings = {
        "variant": "official",
        "num_feat": ours["stem.weight"].shape[0],
        "num_groups": len(_parts(ours, r"groups\.(\d+)\.")),
        "num_blocks": len(_parts(ours, r"groups\.0\.units\.(\d+)\.")),
        "channel_attention": "gct" if "groups.0.units.0.attention.alpha" in ours else None,
        "fusion_connection": "groups.0.fusion.0.weight" in ours,
        "graph": bool(graphs),
        "use_exemplar": "exemplar" in graphs,
    }
    if graphs:
        settings["scales"] = tuple(sorted(int(name.removeprefix("scale")) for name in graphs if name != "exemplar"))
    return settings, ours


def _parts(names: Mapping[str, Tensor], pattern: str) -> set[str]:
    return {match[1] for name in names if (match := re.match(pattern, name))}
