"""`trunk_conv` against plain convolutions in float64."""

import pytest
import torch
from torch.nn import functional as F

from msgnn_plugin.ops.trunk_conv import trunk_conv
from tests.ops.trunk import SHAPES, capabilities, needs_compiled, random_parameters, relative_error, threads

SLOPE = 0.2


def sample(shape=(2, 32, 17, 23), kernel=3, num_maps=1, dtype=torch.float32):
    generator = torch.Generator().manual_seed(sum(shape) + kernel)
    maps = [torch.randn(shape, generator=generator).to(dtype) for _ in range(num_maps)]
    return maps, *random_parameters(generator, shape[1], (num_maps * shape[1],), kernel, dtype)


def surroundings(shape=(2, 32, 17, 23), dtype=torch.float32):
    generator = torch.Generator().manual_seed(sum(shape))
    names = "offset", "added", "scaled", "scaled2", "total", "mask"
    made = {name: torch.randn(shape, generator=generator).to(dtype) for name in names}
    made["added"], made["scaled"] = [made["added"]], [made["scaled"], made.pop("scaled2")]
    made["total"] = made["total"].contiguous(memory_format=torch.channels_last)
    for name in ("gate", "scale", "factor"):
        made[name] = (torch.rand(shape[:2], generator=generator) + 0.5).to(dtype)
    return made


def expected_maps(maps, weight, bias, activate=False, **others):
    """The map and the total."""
    offset, gate, scale, factor, total, mask = (
        None if others.get(name) is None else others[name].double()
        for name in ("offset", "gate", "scale", "factor", "total", "mask")
    )
    x = torch.cat([each.double() if offset is None else each.double() + offset for each in maps], dim=1)
    if gate is not None:
        x = x * gate.repeat(1, len(maps))[..., None, None]
    value = F.conv2d(x, weight.double(), None if bias is None else bias.double(), padding=weight.shape[-1] // 2)
    if activate:
        value = torch.where(value > 0, value, SLOPE * value)
    value = value if scale is None else value * scale[..., None, None]
    value = value + sum(each.double() for each in others.get("added", []))
    value = value + sum(factor[..., None, None] * each.double() for each in others.get("scaled", []))
    return value if mask is None else torch.where(
        mask > 0, value, SLOPE * value
    ), None if total is None else total + value


@pytest.mark.parametrize("capability", capabilities())
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize(("kernel", "tolerance"), [(3, 2e-6), (5, 5e-6)])
def test_everything_around_matches_float64(monkeypatch, capability, shape, kernel, tolerance):
    monkeypatch.setenv("MSGNN_CPU_CAPABILITY", capability)
    arguments, others = sample(shape, kernel, 2), surroundings(shape)
    expected, expected_total = expected_maps(*arguments, activate=True, **others)
    output = trunk_conv(*arguments, activate=True, **others)
    assert relative_error(output, expected) < tolerance
    assert relative_error(others["total"], expected_total) < tolerance
    assert output.is_contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize("alone", [None, "offset", "gate", "scale", "added", "mask", "total", "scaled"])
def test_each_of_it_alone(alone):
    arguments, others = sample(), surroundings()
    names = {None: [], "scaled": ["scaled", "factor"]}.get(alone, [alone])
    chosen = {name: others[name] for name in names}
    expected, expected_total = expected_maps(*arguments, **chosen)
    assert relative_error(trunk_conv(*arguments, **chosen), expected) < 2e-6
    if alone == "total":
        assert relative_error(others["total"], expected_total) < 2e-6
    maps, weight, _ = arguments
    assert relative_error(trunk_conv(maps, weight), expected_maps(maps, weight, None)[0]) < 2e-6


@pytest.mark.parametrize("capability", capabilities())
@pytest.mark.parametrize("channels", [8, 16, 48])
def test_other_channels(monkeypatch, capability, channels):
    monkeypatch.setenv("MSGNN_CPU_CAPABILITY", capability)
    shape = (2, channels, 9, 14)
    arguments, others = sample(shape), surroundings(shape)
    expected, _ = expected_maps(*arguments, **others)
    assert relative_error(trunk_conv(*arguments, **others), expected) < 2e-6


def test_float64_and_strided_maps():
    arguments, others = sample(dtype=torch.float64), surroundings(dtype=torch.float64)
    expected, _ = expected_maps(*arguments, **others)
    assert relative_error(trunk_conv(*arguments, **others), expected) < 1e-12
    maps, *rest = sample()
    inside = F.pad(maps[0], (1, 2, 3, 4))[:, :, 3:-4, 1:-2]
    assert torch.equal(trunk_conv([inside], *rest, mask=inside), trunk_conv(maps, *rest, mask=maps[0]))


@needs_compiled
@pytest.mark.parametrize("kernel", [3, 5])
def test_threads_change_no_bit(kernel):
    shape, outputs = (3, 32, 41, 70), []
    for count in (1, 2, 7):
        others = surroundings(shape)
        with threads(count):
            outputs.append((trunk_conv(*sample(shape, kernel), **others), others["total"]))
    for output in outputs[1:]:
        assert all(map(torch.equal, output, outputs[0]))


def test_backwards_it_is_the_gradient_of_a_convolution():
    (x,), weight, bias = sample(dtype=torch.float64)
    x.requires_grad_()
    F.conv2d(x, weight, bias, padding=1).backward(grad := torch.randn_like(x))
    with torch.no_grad():
        assert relative_error(trunk_conv([grad.float()], weight.float().transpose(0, 1).flip(2, 3)), x.grad) < 2e-6


def test_opcheck():
    def flat(shape, kernel, num_maps, full):
        names = "offset", "gate", "scale", "added", "scaled", "factor", "total", "mask"
        chosen = surroundings(shape) if full else dict.fromkeys(names) | {"added": [], "scaled": []}
        offset, gate, *rest = (chosen[name] for name in names)
        return *sample(shape, kernel, num_maps), offset, gate, SLOPE, full, *rest

    torch.library.opcheck(torch.ops.msgnn_plugin.trunk_conv.default, flat((2, 16, 5, 6), 3, 2, True))
    torch.library.opcheck(torch.ops.msgnn_plugin.trunk_conv.default, flat((1, 32, 1, 1), 5, 1, False))


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"maps": []}, ValueError, r"`maps` must hold at least one map, got none"),
        ({"weight": torch.zeros(32, 32, 7, 7)}, ValueError, r"with k one of \(3, 5\), got \(32, 32, 7, 7\)"),
        ({"weight": torch.zeros(32, 64, 3, 3)}, ValueError, r"`weight` must have shape \(32, 32, 3, 3\)"),
        ({"bias": torch.zeros(31)}, ValueError, r"`bias` must have shape \(32,\), got \(31,\)"),
        ({"gate": torch.zeros(32)}, ValueError, r"`gate` must have shape \(2, 32\), got \(32,\)"),
        ({"added": [torch.zeros(2, 32, 17, 22)]}, ValueError, r"`added\[0\]` must have shape \(2, 32, 17, 23\)"),
        ({"scaled": [torch.zeros(2, 32, 17, 23)]}, ValueError, r"`factor` must be given with `scaled`, got None"),
        ({"total": torch.zeros(2, 32, 17, 23)}, ValueError, r"`total` must be channels last, got strides"),
        (
            {"mask": torch.zeros(2, 32, 17, 23).double()},
            TypeError,
            r"`mask` must have the dtype and device of the maps",
        ),
    ],
)
def test_wrong_arguments(change, error, message):
    maps, weight, bias = sample()
    with pytest.raises(error, match=message):
        trunk_conv(**{"maps": maps, "weight": weight, "bias": bias, **change})


def test_gradients_are_refused():
    maps, weight, bias = sample()
    with pytest.raises(RuntimeError, match=r"for inference only, but one does; call it under torch.no_grad\(\)"):
        trunk_conv(maps, torch.nn.Parameter(weight), bias)
