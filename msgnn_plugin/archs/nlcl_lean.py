"""NLCL's generator with two maps and no more: in memory by the compiled op, or in a file, band by band. Inference only.

Ours. Each instance norm needs a pass over the whole map before the next convolution may begin, so a tile can not go
through the network alone; every layer goes over all of the picture instead, in the memory of the layer before.
"""

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from msgnn_plugin.layers.disk_maps import new_disk_map
from msgnn_plugin.layers.row_bands import conv_rows, norm_conv_in_bands, row_bands
from msgnn_plugin.ops.norm_conv import norm_conv
from msgnn_plugin.ops.trunk_checks import runs_fused

if TYPE_CHECKING:
    from msgnn_plugin.archs.nlcl import NLCLGenerator

NORM_EPS = 1e-5
BAND_PIXELS = 1 << 16  # of the first and the last convolution, where no tile says how many

# What `estimate_bytes` counts with, measured in fresh processes on a CPU. In maps of num_feat channels at the peak.
PLAIN_MAPS = 3.9  # of the picture, in plain PyTorch
LEAN_MAPS = 2.0  # of the picture, by the compiled op
PLAIN_BAND_MAPS = 8.0  # of a band of rows
LEAN_BAND_MAPS = 1.7
PICTURE_CHANNELS = 9.0  # of the whole picture: scaled, the result, and its steps back to [0, 1]
FIXED_BYTES = 14 * 2**20


def runs_lean(network: "NLCLGenerator", scaled: Tensor) -> bool:
    """Whether the compiled op is the way to go; compiled and exported programs hold plain operations."""
    return not torch.compiler.is_compiling() and runs_fused(_empty_map(network, scaled))


def translate_lean(network: "NLCLGenerator", scaled: Tensor, tile: int | None = None) -> Tensor:
    """Return what ``network.translate`` returns.

    Args:
        network: The generator.
        scaled: Images of shape (B, 3, H, W), RGB with range [-1, 1], on the device of the network.
        tile: None keeps both maps in memory, which needs `runs_lean`. Else they lie in a file, or beside a GPU in the
            computer's memory, and bands of rows of at most tile x tile pixels (a row at least) are computed at a time.

    Returns:
        The layer, not clipped, shape and layout of ``scaled``.

    Raises:
        OSError: If there is no room for the file.
    """
    batch, _, height, width = scaled.shape
    shape = (batch, network.stem.out_channels, height, width)
    rows = max((BAND_PIXELS if tile is None else tile * tile) // width, 1)
    fused = runs_lean(network, scaled)

    def new_map() -> Tensor:
        if tile is None or scaled.device.type != "cpu":
            return torch.empty(shape, dtype=scaled.dtype, memory_format=torch.channels_last)
        return new_disk_map(shape, scaled.dtype)

    def convolve(inner: Tensor, conv: nn.Conv2d, moments: Tensor | None, x: Tensor | None = None) -> Tensor:
        if fused:
            return norm_conv(inner, conv.weight, conv.bias, moments, x, eps=NORM_EPS)
        return norm_conv_in_bands(inner, conv, moments, x, rows=rows, eps=NORM_EPS)

    x, inner, moments = new_map(), new_map(), None
    for first, last in row_bands(height, rows):
        x[:, :, first:last] = conv_rows(network.stem, scaled, first, last)
    for block in network.blocks:
        moments = convolve(inner, block.conv1, moments, x)
        moments = convolve(inner, block.conv2, moments)
    moments = convolve(inner, network.neck[0], moments, x)
    del x
    convolve(inner, network.neck[1], moments)
    translated = torch.empty_like(scaled)
    for first, last in row_bands(height, rows):
        translated[:, :, first:last] = conv_rows(network.head, inner, first, last)
    return translated


def estimate_bytes(network: "NLCLGenerator", size: tuple[int, int], tile: int | None = None) -> int:
    """Estimate the memory that one picture takes beside the process as it is, to about a fifth.

    What lies in a file does not count, nor beside a GPU what lies in the computer's memory.

    Args:
        network: The generator, in the dtype and on the device it will run on.
        size: Height and width of the picture in pixels.
        tile: As `translate_lean` takes it.

    Returns:
        Bytes at the peak.
    """
    weight, (height, width) = network.stem.weight, size
    pixels, whole = height * width, tile is None or tile >= max(size)
    with torch.no_grad():
        lean = runs_lean(network, weight)
    maps = 0.0
    if whole:
        maps = (LEAN_MAPS if lean else PLAIN_MAPS) * pixels
    if lean or not whole:
        band = BAND_PIXELS if whole else max(tile * tile, width)
        maps += (LEAN_BAND_MAPS if lean else PLAIN_BAND_MAPS) * min(band, pixels)
    values = maps * network.stem.out_channels + PICTURE_CHANNELS * pixels
    return FIXED_BYTES + int(values * weight.element_size())


def _empty_map(network: "NLCLGenerator", like: Tensor) -> Tensor:
    return like.new_empty(1, network.stem.out_channels, 0, 0)
