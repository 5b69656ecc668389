"""A dense group of residual units in training, forward and backward on the trunk's compiled ops (ours)."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from msgnn_plugin.layers.channel_attention import gct_gate
from msgnn_plugin.layers.fused_merges import FusedMerges
from msgnn_plugin.layers.map_stack import NEGATIVE_SLOPE
from msgnn_plugin.layers.trained_pair import backwards
from msgnn_plugin.ops.conv_weight_gradient import conv_weight_gradient
from msgnn_plugin.ops.dense_merge import dense_merge
from msgnn_plugin.ops.merge_weight_gradient import merge_weight_gradient
from msgnn_plugin.ops.precision import at_least_float32
from msgnn_plugin.ops.trunk_conv import trunk_conv

CONV_PARAMETERS, GATE_PARAMETERS, MERGE_PARAMETERS = 4, 3, 2


def train_group(
    x: Tensor,
    offset: Tensor | None,
    units: Sequence[Sequence[Tensor]],
    merges: Sequence[tuple[Tensor, Tensor]],
    fusion: tuple[Tensor, Tensor] | None,
) -> tuple[Tensor, Tensor | None]:
    """Return what `SubNetwork` does with a GCT or without attention, differentiable once.

    Kept for the backward pass are three maps a unit: what the merge gave, what lies between the convolutions, and the
    output. The gradient of a unit's output is one merge of the gradients of all later merges, read backwards through
    their weights, so no gradient is added up in memory. The gate's gradient follows from that of the weights behind
    it, image by image, and needs no map at all.

    Args:
        x: Map of shape (B, C, H, W).
        offset: Map that is added in front of every unit, or None.
        units: Of each unit weight and bias of both convolutions, (C, C, 3, 3) and (C,), then either nothing or
            alpha, gamma and beta of its gate, (1, C, 1, 1).
        merges: Weight (C, n * C, 1, 1) and bias (C,) of each merge, one fewer than units.
        fusion: The same of the fusion convolution, which reads every unit's output; or None.

    Returns:
        The last unit's output and, with ``fusion``, its map.
    """
    parameters = [*(each for unit in units for each in unit), *(each for pair in merges for each in pair)]
    gated = len(units[0]) > CONV_PARAMETERS
    return _Group.apply(x, offset, len(units), gated, *parameters, *(fusion or ()))


class _Group(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, x: Tensor, offset: Tensor | None, num_units: int, gated: bool, *parameters: Tensor
    ) -> tuple[Tensor, Tensor | None]:
        units, merges, fusion = _sort(parameters, num_units, gated)
        x = x.contiguous(memory_format=torch.channels_last)
        offset = None if offset is None else offset.contiguous(memory_format=torch.channels_last)
        added = [] if offset is None else [offset]
        merging = FusedMerges(merges)
        maps, inputs, middles, energies = [x], [], [], []
        for index, (weight1, bias1, weight2, bias2, *gate_parameters) in enumerate(units):
            gate = None
            if index > 0:
                x, energy = merging.merge(maps, offset)
            elif gated:
                energy = at_least_float32(x if offset is None else x + offset).square().sum(dim=(2, 3))
            if gated:
                gate = _gate(energy, gate_parameters)
                energies.append(energy)
            middle = trunk_conv(
                [x], weight1, bias1, offset=offset, gate=gate, negative_slope=NEGATIVE_SLOPE, activate=True
            )
            maps.append(trunk_conv([middle], weight2, bias2, added=[x, *added]))
            inputs.append(x)
            middles.append(middle)
        merged = dense_merge(maps[1:], *fusion, NEGATIVE_SLOPE)[0] if fusion else None
        ctx.set_materialize_grads(False)
        ctx.num_units, ctx.gated = num_units, gated
        # Without a fusion map nothing reads the last output.
        kept = maps if fusion else maps[:-1]
        ctx.save_for_backward(offset, merged, *kept, *inputs[1:], *middles, *energies, *parameters)
        return maps[-1], merged

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, grad: Tensor | None, grad_fusion: Tensor | None) -> tuple:
        count, gated = ctx.num_units, ctx.gated
        offset, merged, *saved = ctx.saved_tensors
        sizes = count + (merged is not None), count - 1, count, count * gated
        maps, inputs, middles, energies, parameters = _split(saved, *sizes)
        units, merges, fusion = _sort(parameters, count, gated)
        inputs = [maps[0], *inputs]
        if grad is None:
            grad = torch.zeros_like(inputs[0])
        added = [] if offset is None else [offset]
        total = None if offset is None else torch.zeros_like(offset)

        # Gradients of merges in front of their activation, latest first, and the maps each of them read.
        grads: list[Tensor] = []
        runs: list[tuple[int, int]] = []
        if grad_fusion is not None:
            grads.append(torch.where(merged > 0, grad_fusion, grad_fusion * NEGATIVE_SLOPE))
            runs.append((1, count + 1))
        shares = _Shares(merges, fusion if grads else [], inputs[0])
        unit_grads: list[Sequence[Tensor]] = []
        for index in reversed(range(count)):
            weight1, _, weight2, _, *gate_parameters = units[index]
            x, middle = inputs[index], middles[index]
            # Of the unit's output.
            grad = shares.last(grads, grad) if index == count - 1 else shares.next(grads)
            grad_middle = trunk_conv([grad], backwards(weight2), negative_slope=NEGATIVE_SLOPE, mask=middle)
            weight2_grad, bias2_grad = (each.sum(0) for each in conv_weight_gradient([middle], grad, 3))
            weight1_grad, bias1_grad = conv_weight_gradient([x], grad_middle, 3, offset)
            gate, gate_grads, factor = None, [], None
            if gated:
                gate, factor, gate_grads = _gate_gradient(energies[index], gate_parameters, weight1, weight1_grad)
                weight1_grad = weight1_grad * gate[:, None, :, None, None]
            unit_grads.append([weight1_grad.sum(0), bias1_grad.sum(0), weight2_grad, bias2_grad, *gate_grads])
            grad = trunk_conv(
                [grad_middle],
                backwards(weight1),
                negative_slope=NEGATIVE_SLOPE,
                scale=gate,
                added=[grad],
                scaled=[x, *added] if gated else [],
                factor=factor,
                total=total,
                mask=x if index > 0 else None,
            )
            if index > 0:
                grads.append(grad)
                runs.append((0, index + 1))
        grad_x = shares.first(grads, grad)
        unit_grads.reverse()
        merge_grads = _merge_gradients(maps, grads, runs)
        # Of the fusion convolution first, as long as its map has a gradient, then of the last merge.
        fusion_grads = merge_grads.pop(0) if grad_fusion is not None else [None] * len(fusion)
        in_order = [*unit_grads, *reversed(merge_grads), fusion_grads]
        return grad_x, total, None, None, *(each for some in in_order for each in some)


def _merge_gradients(
    maps: Sequence[Tensor], grads: Sequence[Tensor], runs: Sequence[tuple[int, int]]
) -> list[tuple[Tensor, Tensor]]:
    if not grads:
        return []
    weights, biases = merge_weight_gradient(maps, grads, runs)
    return [(weight[..., None, None], bias) for weight, bias in zip(weights, biases, strict=True)]


class _Shares:
    """The gradients that merges hand back to the maps they read, map by map from the last one to the first.

    Args:
        merges: Weight and bias of each merge.
        fusion: The same of the fusion convolution, or nothing where its map gets no gradient.
        like: A map.
    """

    def __init__(self, merges: Sequence[tuple[Tensor, Tensor]], fusion: Sequence[Tensor], like: Tensor) -> None:
        channels = like.shape[1]
        self.fused = bool(fusion)
        self.bias = like.new_zeros(channels)
        # One row of blocks (output, map, input) for each gradient, in the order in which they come.
        rows = []
        num_maps = len(merges) + 2
        for weight, _ in reversed(merges):
            rows.append(F.pad(weight.flatten(1), (0, num_maps * channels - weight.shape[1])))
        if fusion:
            rows.insert(0, F.pad(fusion[0].flatten(1), (channels, 0)))
        self.blocks = None
        if rows:
            # (map, input, gradient, output): what convolves the gradients to give one map's.
            self.blocks = (
                torch.stack(rows).view(len(rows), channels, num_maps, channels).permute(2, 3, 0, 1).contiguous()
            )
        weights = [self._weight(number, self.fused + len(merges) - number + 1) for number in range(len(merges), 0, -1)]
        self.merging = FusedMerges([(weight, self.bias) for weight in weights], 1.0)

    def _weight(self, number: int, num_grads: int, first: int = 0) -> Tensor:
        return self.blocks[number, :, first:num_grads].flatten(1)[..., None, None]

    def last(self, grads: list[Tensor], grad: Tensor) -> Tensor:
        """Return ``grad`` and what the last map gets, which the fusion convolution alone read."""
        if not grads:
            return grad.contiguous(memory_format=torch.channels_last)
        return dense_merge(grads, self._weight(len(self.blocks) - 1, 1), self.bias, 1.0, sums=grad)[0]

    def next(self, grads: list[Tensor]) -> Tensor:
        """Return what the map before gets from the gradients so far."""
        return self.merging.merge(grads)[0]

    def first(self, grads: list[Tensor], grad: Tensor) -> Tensor:
        """Return ``grad`` and what the first map gets, which the fusion convolution did not read."""
        start = int(self.fused)
        if len(grads) == start:
            return grad
        return dense_merge(grads[start:], self._weight(0, len(grads), start), self.bias, 1.0, sums=grad)[0]


def _gate(energy: Tensor, parameters: Sequence[Tensor]) -> Tensor:
    return gct_gate(energy[..., None, None], *parameters).flatten(1)


def _gate_gradient(
    energy: Tensor, parameters: Sequence[Tensor], weight: Tensor, weight_grads: Tensor
) -> tuple[Tensor, Tensor, list[Tensor]]:
    """Return the gate (B, C), what its gradient multiplies the map with, (B, C), and its parameters' gradients.

    Args:
        energy: Sums of squares of the gated map, (B, C).
        parameters: Alpha, gamma, beta.
        weight: Of the convolution behind the gate, (C, C, k, k).
        weight_grads: Its gradient without the gate, image by image.
    """
    grad = torch.einsum("oiyx,boiyx->bi", weight, weight_grads)
    with torch.enable_grad():
        leaves = [each.detach().requires_grad_() for each in (energy, *parameters)]
        gate = _gate(leaves[0], leaves[1:])
        energy_grad, *grads = torch.autograd.grad(gate, leaves, grad)
    return gate.detach(), 2 * energy_grad, grads


def _sort(
    parameters: Sequence[Tensor], num_units: int, gated: bool
) -> tuple[list[Sequence[Tensor]], list[tuple[Tensor, Tensor]], Sequence[Tensor]]:
    """Sort the flat list into those of each unit, of each merge, and of the fusion convolution."""
    step = CONV_PARAMETERS + GATE_PARAMETERS * gated
    units = [parameters[start : start + step] for start in range(0, num_units * step, step)]
    rest = parameters[num_units * step :]
    pairs = [(rest[start], rest[start + 1]) for start in range(0, len(rest), MERGE_PARAMETERS)]
    return units, pairs[: num_units - 1], [each for pair in pairs[num_units - 1 :] for each in pair]


def _split(tensors: Sequence[Tensor], *sizes: int) -> list[Sequence[Tensor]]:
    parts = []
    for size in sizes:
        parts.append(tensors[:size])
        tensors = tensors[size:]
    return [*parts, tensors]
