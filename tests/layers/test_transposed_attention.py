"""Transposed attention, its norm and the gated feed-forward net against their definitions, pixel by pixel."""

import math

import pytest
import torch
import torch.nn.functional as F

from msgnn_plugin.layers.channel_norm import ChannelNorm
from msgnn_plugin.layers.gated_feed_forward import GatedFeedForward
from msgnn_plugin.layers.transposed_attention import TransposedAttention


@pytest.mark.parametrize("heads", [1, 2, 4])
def test_attention_is_between_channels(heads):
    torch.manual_seed(0)
    made = TransposedAttention(8, heads).double()
    with torch.no_grad():
        made.temperature.copy_(torch.rand(heads, 1, 1) + 0.5)
    x = torch.randn(2, 8, 5, 6, dtype=torch.float64)
    maps = made.depthwise(made.embed(x)).reshape(2, 3, heads, 8 // heads, 30)
    expected = torch.empty(2, 8, 30, dtype=torch.float64)
    for b in range(2):
        for head in range(heads):
            query, key, value = maps[b, :, head]
            for row in range(8 // heads):
                scores = [
                    made.temperature[head].item() * F.cosine_similarity(query[row], other, dim=0).item()
                    for other in key
                ]
                powers = [math.exp(score) for score in scores]
                mixed = sum(power / sum(powers) * other for power, other in zip(powers, value))
                expected[b, head * (8 // heads) + row] = mixed
    torch.testing.assert_close(made(x), made.project(expected.reshape(2, 8, 5, 6)), atol=1e-12, rtol=1e-9)


def test_attention_of_an_empty_picture_is_finite():
    made = TransposedAttention(8, 2)
    x = torch.zeros(1, 8, 4, 4, requires_grad=True)
    made(x).sum().backward()
    assert x.grad.isfinite().all()
    assert all(parameter.grad.isfinite().all() for parameter in made.parameters())


def test_attention_holds_large_values_in_low_precision():
    made = TransposedAttention(8, 2)
    x = 30 * torch.randn(1, 8, 64, 64)
    low = made.to(torch.float16)(x.to(torch.float16)).float()
    torch.testing.assert_close(low, made.float()(x), atol=1.0, rtol=0.05)


def test_norm_is_over_the_channels_of_a_pixel():
    made = ChannelNorm(6).double()
    with torch.no_grad():
        made.weight.copy_(torch.randn(6)), made.bias.copy_(torch.randn(6))
    x = torch.randn(2, 6, 3, 4, dtype=torch.float64)
    mean, variance = x.mean(1, keepdim=True), x.var(1, keepdim=True, unbiased=False)
    shaped = made.weight[:, None, None] * (x - mean) / (variance + 1e-5).sqrt() + made.bias[:, None, None]
    torch.testing.assert_close(made(x), shaped)


def test_one_branch_gates_the_other():
    torch.manual_seed(0)
    made = GatedFeedForward(4, 6).double()
    x = torch.randn(1, 4, 3, 3, dtype=torch.float64)
    wide = torch.einsum("oc,bchw->bohw", made.expand.weight[:, :, 0, 0], x)
    padded = F.pad(wide, (1, 1, 1, 1))
    # The top left pixel; its window begins outside.
    centre = torch.stack([(padded[0, c, 0:3, 0:3] * made.depthwise.weight[c, 0]).sum() for c in range(12)])
    gated = centre[:6] * 0.5 * (1 + torch.erf(centre[:6] / math.sqrt(2)))
    expected = made.project.weight[:, :, 0, 0] @ (gated * centre[6:])
    torch.testing.assert_close(made(x)[0, :, 0, 0], expected)
