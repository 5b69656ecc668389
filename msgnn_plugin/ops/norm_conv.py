"""A convolution between two instance norms, in place, as NLCL's generators chain them. Ours."""

import torch
from torch import Tensor
from torch.nn import functional as F

from msgnn_plugin.ops.checks import check_map
from msgnn_plugin.ops.trunk_checks import check_inference, check_parameter, fits_kernels


def norm_conv(
    inner: Tensor,
    weight: Tensor,
    bias: Tensor,
    moments: Tensor | None = None,
    x: Tensor | None = None,
    *,
    eps: float = 1e-5,
) -> Tensor:
    r"""Normalise a map, convolve it in its own memory, and take the moments that the next norm needs.

    .. math::
        n &= (h - \mu) / \sqrt{\sigma^2 + \epsilon} \\
        h &\leftarrow W * \max(n, 0) + b \quad \text{without a map } x, \\
        x &\leftarrow x + n, \quad h \leftarrow W * x + b \quad \text{with one.}

    The first form is the second convolution of a residual block; the second form ends one block and begins the next.
    No third map is needed, and the result is read once less than by separate steps.

    Args:
        inner: Map h of shape (B, C, H, W), floating, channels last. Written to.
        weight: W, shape (C, C, 3, 3); zero padding, of the normalised map.
        bias: b, shape (C,).
        moments: Mean and variance of each map in ``inner``, as this function returns them; shape (B, 2, C), float64.
            None where ``inner`` holds nothing yet, and n is 0.
        x: Map x as ``inner``; written to unless ``moments`` is None.
        eps: Added to the variance.

    Returns:
        Mean and variance (of all pixels, not corrected) of each map in ``inner`` as it is now.

    Raises:
        ValueError: If a shape or layout is wrong, or both ``moments`` and ``x`` are None.
        TypeError: If a map is not floating, or dtypes or devices differ.
        RuntimeError: If an input requires a gradient and gradients are on.

    Note:
        The compiled op takes float32 on the CPU with C a multiple of 16, by Winograd's algorithm as `residual_unit`.
        Moments are sums of distances from local means, joined in float64, so large means cost no digits. Bits do not
        depend on the number of threads.
    """
    check_map("norm_conv", "inner", inner)
    batch, channels = inner.shape[:2]
    for name, image in (("inner", inner), ("x", x)):
        if image is None:
            continue
        check_parameter("norm_conv", name, image, tuple(inner.shape), inner)
        if not image.is_contiguous(memory_format=torch.channels_last):
            raise ValueError(f"norm_conv: `{name}` must be channels last, got strides {image.stride()}.")
    check_parameter("norm_conv", "weight", weight, (channels, channels, 3, 3), inner)
    check_parameter("norm_conv", "bias", bias, (channels,), inner)
    if moments is not None:
        if tuple(moments.shape) != (batch, 2, channels):
            raise ValueError(
                f"norm_conv: `moments` must have shape {(batch, 2, channels)}, got {tuple(moments.shape)}."
            )
        if moments.dtype != torch.float64:
            raise TypeError(f"norm_conv: `moments` must be torch.float64, got {moments.dtype}.")
    elif x is None:
        raise ValueError("norm_conv: `x` must be given where `moments` is not, got None.")
    check_inference("norm_conv", inner, weight, bias, x)
    run = _norm_conv if fits_kernels(inner) else _plain
    return run(inner, weight, bias, moments, x, eps)


def normalise(image: Tensor, moments: Tensor, eps: float) -> Tensor:
    """Return (image - mean) / sqrt(variance + eps). Shape: (B, C, H, W), (B, 2, C) -> (B, C, H, W)."""
    mean, variance = moments.to(image.device)[..., None, None].unbind(1)
    scale = torch.rsqrt(variance + eps)
    # The mean as the map's dtype holds it, and what that leaves out.
    centre = mean.to(image.dtype)
    return (image - centre) * scale.to(image.dtype) + ((centre - mean) * scale).to(image.dtype)


def moments_of(image: Tensor) -> Tensor:
    """Return mean and variance of each map of each image. Shape: (B, C, H, W) -> (B, 2, C), float64."""
    variance, mean = torch.var_mean(image.double(), dim=(2, 3), correction=0)
    return torch.stack([mean, variance], dim=1)


def _plain(inner: Tensor, weight: Tensor, bias: Tensor, moments: Tensor | None, x: Tensor | None, eps: float) -> Tensor:
    source = x
    if x is None:
        source = F.relu(normalise(inner, moments, eps))
    elif moments is not None:
        x.add_(normalise(inner, moments, eps))
    inner.copy_(F.conv2d(source, weight, bias, padding=1))
    return moments_of(inner)


_norm_conv = torch.library.custom_op("msgnn_plugin::norm_conv", _plain, mutates_args=("inner", "x"))


@_norm_conv.register_fake
def _(inner: Tensor, *arguments: object) -> Tensor:
    return inner.new_empty(inner.shape[0], 2, inner.shape[1], dtype=torch.float64)
