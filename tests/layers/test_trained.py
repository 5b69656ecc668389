"""Written-out gradients of dense groups and pairs of convolutions against autograd's, in float64 and in float32."""

import pytest
import torch
from torch.nn import functional as F

from msgnn_plugin.layers import dense
from msgnn_plugin.layers.dense import SubNetwork
from msgnn_plugin.layers.trained_group import train_group
from msgnn_plugin.layers.trained_pair import train_pair
from msgnn_plugin.ops.trunk_checks import trains_fused
from tests.ops.trunk import needs_compiled, relative_error, threads


def image(*shape, seed=0, dtype=torch.float64):
    return (torch.rand(*shape, generator=torch.Generator().manual_seed(seed)) - 0.3).to(dtype).requires_grad_()


def build_group(num_blocks, kind, num_feat, fusion=True):
    torch.manual_seed(num_blocks)
    group = SubNetwork(num_feat, num_blocks, kind, fusion=fusion, unused_merge=True)
    if kind == "gct":
        for unit in group.units:
            torch.nn.init.normal_(unit.attention.gamma)
            torch.nn.init.normal_(unit.attention.beta)
    return group


def gradients(outputs, inputs):
    outputs = [output for output in outputs if output is not None]
    total = sum((output * image(*output.shape, seed=7 + i).to(output)).sum() for i, output in enumerate(outputs))
    return torch.autograd.grad(total, inputs, allow_unused=True)


def run_fused(monkeypatch, group, *arguments, **keywords):
    """The group on written-out gradients, whatever the dtype."""
    with monkeypatch.context() as patch:
        patch.setattr(dense, "trains_fused", lambda image: True)
        return group(*arguments, **keywords)


def assert_same(made, expected, tolerance):
    for a, b in zip(made, expected, strict=True):
        assert (a is None) == (b is None)
        if a is not None:
            assert a.shape == b.shape
            assert relative_error(a, b.double()) < tolerance


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize(
    ("batch", "num_blocks", "kind", "with_offset", "with_fusion"),
    [
        (2, 4, "gct", True, True),
        (1, 5, "gct", False, True),
        (2, 3, None, True, False),
        (3, 2, "gct", True, False),
        (2, 1, None, False, True),
        (1, 1, "gct", True, False),
    ],
)
def test_group_is_autograds_in_float64(monkeypatch, batch, num_blocks, kind, with_offset, with_fusion, layout):
    group = build_group(num_blocks, kind, 5, with_fusion).double()
    x = image(batch, 5, 6, 7).detach().to(memory_format=layout).requires_grad_()
    offset = image(batch, 5, 6, 7, seed=1) if with_offset else None
    inputs = [each for each in (x, offset, *group.parameters()) if each is not None]
    made, expected = run_fused(monkeypatch, group, x, offset), group(x, offset)
    assert made[0].grad_fn.name() == "_GroupBackward"
    assert (made[1] is None) == (not with_fusion)
    assert_same(made, expected, 1e-13)
    assert_same(gradients(made, inputs), gradients(expected, inputs), 1e-12)


@pytest.mark.parametrize("which", [0, 1])
def test_either_output_alone(monkeypatch, which):
    group, x, offset = build_group(3, "gct", 4).double(), image(2, 4, 5, 4), image(2, 4, 5, 4, seed=1)
    inputs = [x, offset, *group.parameters()]
    made, expected = run_fused(monkeypatch, group, x, offset)[which], group(x, offset)[which]
    given = [grad if grad is not None else torch.zeros_like(i) for grad, i in zip(gradients([made], inputs), inputs)]
    wanted = [
        grad if grad is not None else torch.zeros_like(i) for grad, i in zip(gradients([expected], inputs), inputs)
    ]
    for a, b in zip(given, wanted):
        torch.testing.assert_close(a, b, rtol=1e-10, atol=1e-12)


def test_an_unwanted_fusion_map_and_a_graph_used_twice(monkeypatch):
    group, x = build_group(3, "gct", 4).double(), image(2, 4, 5, 4)
    inputs = [x, *group.units.parameters()]
    made = run_fused(monkeypatch, group, x, want_fusion=False)
    assert made[1] is None
    expected = gradients(group(x, want_fusion=False), inputs)
    total = (made[0] * image(*x.shape, seed=7)).sum()
    for _ in range(2):
        assert_same(torch.autograd.grad(total, inputs, retain_graph=True), expected, 1e-12)


def test_gradcheck():
    group = build_group(2, "gct", 2).double()
    parameters = [
        [unit.body[0].weight, unit.body[0].bias, unit.body[2].weight, unit.body[2].bias, *unit.attention.parameters()]
        for unit in group.units
    ]
    merge, fusion = (group.merges[0][0].weight, group.merges[0][0].bias), (group.fusion[0].weight, group.fusion[0].bias)

    def run(x, offset, *_):
        return train_group(x, offset, parameters, [merge], fusion)

    inputs = image(2, 2, 3, 2), image(2, 2, 3, 2, seed=1), *group.parameters()
    assert torch.autograd.gradcheck(run, inputs, fast_mode=True)
    weights = [torch.randn(2, 4, 5, 5), torch.randn(2), torch.randn(2, 2, 5, 5), torch.randn(2)]
    weights = [each.double().requires_grad_() for each in weights]
    maps = [image(2, 2, 4, 3, seed=seed) for seed in range(2)]
    for last in (False, True):
        assert torch.autograd.gradcheck(
            lambda *a, last=last: train_pair(a[:2], *a[2:], last_activation=last), (*maps, *weights)
        )


def test_a_second_derivative_is_refused(monkeypatch):
    group, x = build_group(2, None, 3).double(), image(1, 3, 4, 4)
    (grad,) = torch.autograd.grad(run_fused(monkeypatch, group, x)[0].square().sum(), x, create_graph=True)
    with pytest.raises(RuntimeError, match="once_differentiable"):
        grad.sum().backward()


@needs_compiled
@pytest.mark.parametrize("shape", [(1, 32, 1, 1), (3, 32, 17, 30), (2, 16, 40, 64)])
@pytest.mark.parametrize("kind", ["gct", None])
def test_group_in_float32_is_near_float64(shape, kind):
    group = build_group(4, kind, shape[1])
    x, offset = image(*shape, dtype=torch.float32), image(*shape, seed=1, dtype=torch.float32)
    assert trains_fused(x)
    inputs = [x, offset, *group.parameters()]
    made = group(x, offset)
    assert made[0].grad_fn.name() == "_GroupBackward"
    made_gradients = gradients(made, inputs)
    exact = build_group(4, kind, shape[1]).double()
    inputs = [x.detach().double().requires_grad_(), offset.detach().double().requires_grad_(), *exact.parameters()]
    assert_same(made, expected := exact(*inputs[:2]), 2e-6)
    assert_same(made_gradients, gradients(expected, inputs), 1e-5)


@needs_compiled
@pytest.mark.parametrize("kernel", [3, 5])
@pytest.mark.parametrize("last", [False, True])
def test_pair_in_float32_is_near_float64(kernel, last):
    generator = torch.Generator().manual_seed(kernel)
    shapes = (32, 96, kernel, kernel), (32,), (32, 32, kernel, kernel), (32,)
    weights = [torch.randn(s, generator=generator) / (s[-1] * 32) for s in shapes]
    inputs = [image(2, 32, 21, 34, seed=seed, dtype=torch.float32).detach() for seed in range(3)] + weights
    results = []
    for dtype in (torch.float32, torch.float64):
        leaves = [each.to(dtype).requires_grad_() for each in inputs]
        if dtype == torch.float32:
            output = train_pair(leaves[:3], *leaves[3:], last_activation=last)
        else:
            middle = F.leaky_relu(F.conv2d(torch.cat(leaves[:3], 1), *leaves[3:5], padding=kernel // 2), 0.2)
            output = F.conv2d(middle, *leaves[5:], padding=kernel // 2)
            output = F.leaky_relu(output, 0.2) if last else output
        results.append([output, *gradients([output], leaves)])
    assert_same(*results, 1e-5)


@needs_compiled
def test_threads_change_no_bit():
    group, results = build_group(4, "gct", 32), []
    for count in (1, 2, 7):
        x, offset = image(3, 32, 30, 41, dtype=torch.float32), image(3, 32, 30, 41, seed=1, dtype=torch.float32)
        with threads(count):
            outputs = group(x, offset)
            # gradients() itself sums the two losses with plain PyTorch.
            results.append(
                torch.autograd.grad(
                    outputs, [x, offset, *group.parameters()], [x.detach(), offset.detach()], allow_unused=True
                )
            )
    for result in results[1:]:
        for a, b in zip(result, results[0]):
            assert (a is None and b is None) or torch.equal(a, b)


def test_autocast_and_other_attentions_train_plainly():
    x = image(2, 16, 5, 6, dtype=torch.float32)
    assert build_group(2, "se", 16)(x)[0].grad_fn.name() != "_GroupBackward"
    with torch.autocast("cpu", torch.bfloat16):
        assert build_group(2, "gct", 16)(x)[0].grad_fn.name() != "_GroupBackward"
