"""From feature maps to the embeddings that NLCL's losses contrast: pixels at given places, one small MLP a map."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from msgnn_plugin.ops.checks import check_map
from msgnn_plugin.ops.precision import at_least_float32

GAIN = 0.02
EPSILON = 1e-7


def gather_pixels(feature_map: Tensor, centres: Tensor, image_size: tuple[int, int]) -> Tensor:
    """Return the features at places of the picture that a feature map was made of.

    A place's row goes to ``row * h // H`` of the map and its column to ``column * w // W``. The authors' code divides
    by a fixed 256 and takes the height for both axes, which is the same for crops of 256x256 only.

    Args:
        feature_map: (B, C, h, w).
        centres: Places in the picture, (B, N, 2) int64, row and column.
        image_size: H and W of the picture.

    Returns:
        (B, N, C), of the map's dtype; gradients flow into ``feature_map``.

    Raises:
        ValueError: If a shape is wrong or a place lies outside the picture.
        TypeError: If ``feature_map`` is not floating-point or ``centres`` not int64.
    """
    check_map("gather_pixels", "feature_map", feature_map)
    if centres.dtype != torch.int64:
        raise TypeError(f"gather_pixels: `centres` must be int64, got {centres.dtype}.")
    batch = feature_map.shape[0]
    if centres.dim() != 3 or centres.shape[0] != batch or centres.shape[2] != 2:
        raise ValueError(
            f"gather_pixels: `centres` must have shape (B, N, 2) = ({batch}, N, 2), got {tuple(centres.shape)}."
        )
    height, width = image_size
    if not torch.compiler.is_compiling() and centres.numel():
        least, most = centres.amin((0, 1)).tolist(), centres.amax((0, 1)).tolist()
        if min(least) < 0 or most[0] >= height or most[1] >= width:
            raise ValueError(
                f"gather_pixels: `centres` must lie in [0, {height - 1}] x [0, {width - 1}] to stay in the picture, "
                f"got places from {least} to {most}."
            )
    rows, columns = feature_map.shape[2:]
    index = centres[..., 0] * rows // height * columns + centres[..., 1] * columns // width
    return feature_map.flatten(2).gather(2, index[:, None].expand(-1, feature_map.shape[1], -1)).mT


class ProjectionHeads(nn.Module):
    """One MLP a feature map, then L2 normalisation: linear, ReLU, linear, as NLCL (CVPR 2022) projects its features.

    Weights start from a Xavier normal of gain 0.02, biases from 0.

    Args:
        widths: Channels of each feature map, in the order of the maps.
        num_out: Width of the hidden layer and of the embeddings.

    Raises:
        ValueError: If ``widths`` is empty, or a width or ``num_out`` is below 1.
    """

    def __init__(self, widths: Sequence[int], num_out: int = 256) -> None:
        super().__init__()
        if not widths or min(widths) < 1:
            raise ValueError(f"ProjectionHeads: `widths` must be one or more numbers from 1 up, got {list(widths)}.")
        if num_out < 1:
            raise ValueError(f"ProjectionHeads: `num_out` must be at least 1, got {num_out}.")
        self.heads = nn.ModuleList(
            nn.Sequential(nn.Linear(width, num_out), nn.ReLU(), nn.Linear(num_out, num_out)) for width in widths
        )
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.xavier_normal_(module.weight, gain=GAIN)
                nn.init.zeros_(module.bias)

    def forward(self, features: Sequence[Tensor]) -> list[Tensor]:
        """Return embeddings of length 1, float32 or wider. Shape: a list of (B, N, C_i) -> a list of (B, N, num_out).

        Raises:
            ValueError: If the number of feature maps or their widths are not those of the heads.
        """
        widths = [head[0].in_features for head in self.heads]
        given = [feature.shape[-1] for feature in features]
        if given != widths:
            raise ValueError(f"ProjectionHeads: `features` must have the widths {widths}, got {given}.")
        return [_normalised(head(feature)) for head, feature in zip(self.heads, features, strict=True)]


def _normalised(embedding: Tensor) -> Tensor:
    embedding = at_least_float32(embedding)
    return embedding / (torch.linalg.vector_norm(embedding, dim=-1, keepdim=True) + EPSILON)
