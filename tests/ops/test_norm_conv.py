"""`norm_conv` against normalisation, ReLU and convolution written out in float64."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from msgnn_plugin.layers.row_bands import norm_conv_in_bands
from msgnn_plugin.ops.norm_conv import norm_conv
from tests.ops.trunk import SHAPES, capabilities, needs_compiled, random_parameters, relative_error, threads

EPS = 1e-5
# What is given beside the inner map.
FORMS = {"moments": (True, False), "x": (False, True), "both": (True, True)}


def sample(shape, mean=0.0, spread=1.0, dtype=torch.float32):
    generator = torch.Generator().manual_seed(sum(shape))
    maps = [torch.randn(shape, generator=generator).to(dtype) for _ in range(2)]
    inner, x = (image.contiguous(memory_format=torch.channels_last) for image in maps)
    return inner * spread + mean, x, *random_parameters(generator, shape[1], (shape[1],), 3, dtype)


def true_moments(image):
    image = image.double()
    mean = image.mean((2, 3), keepdim=True)
    return torch.stack([mean[..., 0, 0], (image - mean).square().mean((2, 3))], dim=1)


def expected(inner, x, weight, bias, moments):
    inner = inner.double()
    norm = 0.0
    if moments is not None:
        mean, variance = moments[..., None, None].unbind(1)
        norm = (inner - mean) / (variance + EPS).sqrt()
    source = norm.clamp_min(0) if x is None else x.double() + norm
    return F.conv2d(source, weight.double(), bias.double(), padding=1), source


def run(inner, x, weight, bias, form):
    """Run on copies; returns the inner map, x and the moments, and what they should be."""
    with_moments, with_x = FORMS[form]
    moments, x = true_moments(inner) if with_moments else None, x.clone() if with_x else None
    wanted, wanted_x = expected(inner, x, weight, bias, moments)
    inner = inner.clone()
    after = norm_conv(inner, weight, bias, moments, x)
    return (inner, x, after), (wanted, wanted_x, true_moments(inner))


@pytest.mark.parametrize("capability", capabilities())
@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("shape", [*SHAPES, (2, 16, 9, 14), (1, 48, 30, 61), (1, 32, 130, 3), (2, 8, 6, 7)])
def test_matches_float64(monkeypatch, capability, form, shape):
    monkeypatch.setenv("MSGNN_CPU_CAPABILITY", capability)
    (inner, x, after), (wanted, wanted_x, moments) = run(*sample(shape), form)
    assert relative_error(inner, wanted) < 2e-6
    assert x is None or relative_error(x, wanted_x) < 1e-6
    torch.testing.assert_close(after, moments, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("capability", capabilities())
@pytest.mark.parametrize("form", ["moments", "both"])
def test_a_large_mean_costs_no_digits(monkeypatch, capability, form):
    monkeypatch.setenv("MSGNN_CPU_CAPABILITY", capability)
    inner, x, weight, bias = sample((1, 32, 65, 70), mean=3e4, spread=2.0)
    (inner, x, after), (wanted, _, moments) = run(inner, x, weight, bias + 1e4, form)
    assert relative_error(inner - 1e4, wanted - 1e4) < 1e-3  # float32 has steps of 1e-3 at 1e4
    # The variance of what is there, to more digits than the squares of its values have.
    torch.testing.assert_close(after, moments, rtol=1e-6, atol=1e-8)


def test_flat_maps_have_no_variance():
    inner = torch.full((1, 32, 20, 20), 7.0).contiguous(memory_format=torch.channels_last)
    _, x, weight, bias = sample((1, 32, 20, 20))
    moments = true_moments(inner)
    after = norm_conv(inner, torch.zeros_like(weight), bias, moments, x.clone())
    torch.testing.assert_close(inner, bias[None, :, None, None].expand_as(inner))
    torch.testing.assert_close(after[:, 0], bias[None].double())
    assert after[:, 1].abs().max() < 1e-12


@needs_compiled
@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("shape", [(3, 32, 41, 70), (1, 16, 9, 131)])
def test_threads_change_no_bit(form, shape):
    outputs = []
    for count in (1, 2, 7):
        with threads(count):
            outputs.append(run(*sample(shape), form)[0])
    for output in outputs[1:]:
        for one, first in zip(output, outputs[0], strict=True):
            assert one is first is None or torch.equal(one, first)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("rows", [1, 2, 5, 16, 17, 40])
def test_bands_do_the_same(form, rows):
    inner, x, weight, bias = sample((2, 8, 17, 23), mean=3.0, dtype=torch.float64)
    conv = nn.Conv2d(8, 8, 3, padding=1).double().requires_grad_(False)
    conv.weight.copy_(weight)
    conv.bias.copy_(bias)
    with_moments, with_x = FORMS[form]
    moments, x = true_moments(inner) if with_moments else None, x if with_x else None
    wanted, wanted_x = expected(inner, x, weight, bias, moments)
    after = norm_conv_in_bands(inner, conv, moments, x, rows=rows, eps=EPS)
    torch.testing.assert_close(inner, wanted)
    assert x is None or torch.allclose(x, wanted_x)
    torch.testing.assert_close(after, true_moments(wanted))


def test_float64_runs_in_plain_pytorch():
    for form in FORMS:
        (inner, _, after), (wanted, _, moments) = run(*sample((1, 32, 9, 14), dtype=torch.float64), form)
        assert relative_error(inner, wanted) < 1e-12
        torch.testing.assert_close(after, moments)


def test_opcheck():
    for with_moments, with_x in FORMS.values():
        inner, x, weight, bias = sample((2, 16, 5, 6))
        moments = true_moments(inner) if with_moments else None
        arguments = inner, weight, bias, moments, x if with_x else None, EPS
        torch.library.opcheck(torch.ops.msgnn_plugin.norm_conv.default, arguments)


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"inner": torch.zeros(2, 32, 9)}, ValueError, r"`inner` must have shape \(B, C, H, W\)"),
        ({"inner": torch.zeros(1, 32, 9, 14)}, ValueError, "`inner` must be channels last, got strides"),
        ({"x": torch.zeros(1, 32, 9, 14)}, ValueError, "`x` must be channels last, got strides"),
        ({"x": torch.zeros(1, 32, 9, 13)}, ValueError, r"`x` must have shape \(1, 32, 9, 14\), got \(1, 32, 9, 13\)"),
        ({"weight": torch.zeros(32, 32, 5, 5)}, ValueError, r"`weight` must have shape \(32, 32, 3, 3\)"),
        ({"bias": torch.zeros(31)}, ValueError, r"`bias` must have shape \(32,\), got \(31,\)"),
        ({"moments": torch.zeros(1, 32).double()}, ValueError, r"`moments` must have shape \(1, 2, 32\)"),
        ({"moments": torch.zeros(1, 2, 32)}, TypeError, "`moments` must be torch.float64, got torch.float32"),
        ({"moments": None, "x": None}, ValueError, "`x` must be given where `moments` is not, got None"),
    ],
)
def test_wrong_arguments(change, error, message):
    inner, x, weight, bias = sample((1, 32, 9, 14))
    arguments = {"inner": inner, "weight": weight, "bias": bias, "moments": true_moments(inner), "x": x}
    with pytest.raises(error, match=message):
        norm_conv(**{**arguments, **change})


def test_gradients_are_refused():
    inner, x, weight, bias = sample((1, 32, 9, 14))
    with pytest.raises(RuntimeError, match=r"for inference only, but one does; call it under torch.no_grad\(\)"):
        norm_conv(inner, nn.Parameter(weight), bias, None, x)
