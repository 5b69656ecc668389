"""The maps of a dense group side by side in one buffer, so that a merge reads them where they lie (ours)."""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

NEGATIVE_SLOPE = 0.2


class MapStack:
    """Maps of one size, appended one after the other, and 1x1 convolutions of what has been appended so far.

    Concatenating before every merge copies each map as often as there are merges after it, forward and backward, and
    keeps the copies for the backward pass. Here a map is written once, into a (pixels, channels) buffer whose leading
    columns are the concatenation, and the gradients of all merges are added up in one buffer of the same form.
    Compiled and exported programs hold the plain concatenation instead, which their compilers plan better.

    Args:
        first: The first map, shape (B, C, H, W).
        num_maps: Number of maps to make room for.
    """

    def __init__(self, first: Tensor, num_maps: int) -> None:
        self.maps: list[Tensor] | None = [] if torch.compiler.is_compiling() else None
        self.shape = first.shape
        self.count = 0
        if self.maps is None:
            kind = first.device.type
            dtype = torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else first.dtype
            batch, channels, height, width = first.shape
            self.buffer = first.new_empty(batch * height * width, num_maps * channels, dtype=dtype)
        self.append(first)

    def append(self, x: Tensor, change: Tensor | None = None) -> None:
        """Add the map ``x``, or ``x + change``, of the first one's shape."""
        if self.maps is not None:
            self.maps.append(x if change is None else x + change)
        else:
            self.buffer = _Append.apply(self.buffer, self.count * self.shape[1], x, change)
        self.count += 1

    def merge(self, weight: Tensor, bias: Tensor, first: int = 0) -> Tensor:
        """Return LeakyReLU(1x1 convolution) of the maps from number ``first`` on.

        Args:
            weight: Shape (D, (number of maps) * C, 1, 1).
            bias: Shape (D,).
            first: Number of maps to leave out.

        Returns:
            Shape (B, D, H, W), channels-last.
        """
        if self.maps is not None:
            return F.leaky_relu(F.conv2d(torch.cat(self.maps[first:], dim=1), weight, bias), NEGATIVE_SLOPE)
        columns = first * self.shape[1], self.count * self.shape[1]
        weight, bias = weight.flatten(1).to(self.buffer.dtype), bias.to(self.buffer.dtype)
        self.buffer, rows = _Merge.apply(self.buffer, columns, weight, bias)
        batch, _, height, width = self.shape
        return rows.view(batch, height, width, -1).permute(0, 3, 1, 2)


class _Append(torch.autograd.Function):
    """Write a map into its columns; the buffer's gradient passes through."""

    @staticmethod
    def forward(ctx: Any, buffer: Tensor, column: int, x: Tensor, change: Tensor | None) -> Tensor:
        ctx.set_materialize_grads(False)
        ctx.column, ctx.shape, ctx.dtype = column, x.shape, x.dtype
        # Past autograd's count of changes: no merge so far has read these columns.
        columns = buffer.data[:, column : column + x.shape[1]]
        if change is None:
            columns.copy_(_rows(x))
        else:
            torch.add(_rows(x), _rows(change), out=columns)
        return buffer.detach()

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, grad: Tensor | None) -> tuple:
        if grad is None:
            return None, None, None, None
        batch, channels, height, width = ctx.shape
        rows = grad[:, ctx.column : ctx.column + channels]
        # A copy, since what lies in front of these columns goes on being added to.
        rows = rows.to(ctx.dtype, copy=True, memory_format=torch.contiguous_format)
        grad_x = rows.view(batch, height, width, channels).permute(0, 3, 1, 2)
        return grad, None, grad_x, grad_x if ctx.needs_input_grad[3] else None


class _Merge(torch.autograd.Function):
    """Multiply columns of the buffer, activate; backward adds onto the buffer's gradient in place.

    In place is safe because a stack's buffer goes through one chain of these functions and nowhere else.
    """

    @staticmethod
    def forward(
        ctx: Any, buffer: Tensor, columns: tuple[int, int], weight: Tensor, bias: Tensor
    ) -> tuple[Tensor, Tensor]:
        ctx.set_materialize_grads(False)
        rows = F.leaky_relu_(torch.addmm(bias, buffer[:, slice(*columns)], weight.t()), NEGATIVE_SLOPE)
        ctx.columns = columns
        ctx.save_for_backward(buffer, weight, rows)
        return buffer.detach(), rows

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, grad_buffer: Tensor | None, grad: Tensor | None) -> tuple:
        if grad is None:
            return grad_buffer, None, None, None
        buffer, weight, rows = ctx.saved_tensors
        start, stop = ctx.columns
        grad = torch.ops.aten.leaky_relu_backward(grad, rows, NEGATIVE_SLOPE, True)
        if ctx.needs_input_grad[0]:
            if grad_buffer is None:
                grad_buffer = torch.empty_like(buffer)
                grad_buffer[:, start:stop].addmm_(grad, weight, beta=0)
                grad_buffer[:, :start].zero_()
            else:
                grad_buffer[:, start:stop].addmm_(grad, weight)
        grad_weight = grad.t() @ buffer[:, start:stop] if ctx.needs_input_grad[2] else None
        return grad_buffer, None, grad_weight, grad.sum(0) if ctx.needs_input_grad[3] else None


def _rows(x: Tensor) -> Tensor:
    """Return a (B, C, H, W) map as (B * H * W, C), a view if it is channels-last."""
    return x.permute(0, 2, 3, 1).reshape(-1, x.shape[1])
