"""Attention between channels instead of pixels."""

import torch
from torch import Tensor, nn

# What a map of zeros is taken for, so that its norm can be divided by.
LEAST_SQUARE = 1e-24


class TransposedAttention(nn.Module):
    """Multi-head attention whose tokens are the channels, each described by its whole map.

    The attention matrix has (C / heads) squared entries whatever the image's size. Paper: Zamir et al., "Restormer:
    Efficient Transformer for High-Resolution Image Restoration" (CVPR 2022), section 3.1.

    Args:
        num_feat: Channels C, a multiple of ``num_heads``.
        num_heads: Groups of channels that attend among themselves.
    """

    def __init__(self, num_feat: int, num_heads: int) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.temperature = nn.Parameter(torch.ones(num_heads, 1, 1))
        self.embed = nn.Conv2d(num_feat, 3 * num_feat, 1, bias=False)
        self.depthwise = nn.Conv2d(3 * num_feat, 3 * num_feat, 3, padding=1, groups=3 * num_feat, bias=False)
        self.project = nn.Conv2d(num_feat, num_feat, 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """Shape: (B, C, H, W) -> same."""
        maps = self.depthwise(self.embed(x))
        query, key, value = (part.flatten(2).unflatten(1, (self.num_heads, -1)) for part in maps.chunk(3, 1))
        query_norm, key_norm = (norm.unflatten(1, (self.num_heads, -1, 1)) for norm in _norms(maps).chunk(2, 1))
        # Dividing the small matrix by the keys' norms spares a pass over the maps. The queries are divided before the
        # product, which float16 could not hold otherwise.
        scores = (query / query_norm.to(query.dtype)) @ key.mT / key_norm.mT
        attention = (self.temperature * scores).softmax(-1)
        return self.project((attention.to(value.dtype) @ value).flatten(1, 2).unflatten(2, x.shape[2:]))


def _norms(maps: Tensor) -> Tensor:
    """Return the norm of each query's and key's map, (B, 3 C, H, W) -> (B, 2 C), at least float32."""
    wanted = maps[:, : maps.shape[1] // 3 * 2]
    squares = wanted.to(torch.promote_types(maps.dtype, torch.float32)).square()
    return squares.sum((2, 3)).clamp_min(LEAST_SQUARE).sqrt()
