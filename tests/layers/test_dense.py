"""Dense groups against plain concatenation, in float64: values, gradients, odd uses of autograd."""

import copy

import pytest
import torch

from msgnn_plugin.layers.channel_attention import build_channel_attention
from msgnn_plugin.layers.dense import DenseBranch, SubNetwork


def image(*shape, seed=0):
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def activated(x):
    return torch.where(x > 0, x, 0.2 * x)


def plain_unit(unit, x):
    return x + unit.body[2](activated(unit.body[0](unit.attention(x))))


def plain_merge(merge, maps):
    return activated(merge[0](torch.cat(maps, dim=1)))


def plain_group(group, x, fusion):
    maps = [x]
    for index, unit in enumerate(group.units):
        x = plain_merge(group.merges[index - 1], maps) if index else x
        maps.append(plain_unit(unit, x if fusion is None else x + fusion))
    return maps[-1], plain_merge(group.fusion, maps[1:]) if group.fusion is not None else None


def plain_branch(branch, x):
    maps = [x]
    for unit, merge in zip(branch.units, branch.merges):
        maps.append(plain_unit(unit, x))
        x = plain_merge(merge, maps)
    return x


def gradients(outputs, inputs):
    total = sum((output * image(*output.shape, seed=7 + i)).sum() for i, output in enumerate(outputs))
    return torch.autograd.grad(total, inputs, allow_unused=True)


def assert_same(first, second):
    for a, b in zip(first, second, strict=True):
        assert (a is None) == (b is None)
        if a is not None:
            torch.testing.assert_close(a, b, rtol=1e-10, atol=1e-12)


def build_group(num_blocks=4, kind="gct", fusion=True, num_feat=5):
    group = SubNetwork(num_feat, num_blocks, kind, fusion=fusion, unused_merge=False).double()
    if kind == "gct":
        for unit in group.units:
            torch.nn.init.normal_(unit.attention.gamma)
    return group


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize(
    ("batch", "num_blocks", "kind", "with_fusion"),
    [(2, 4, "gct", True), (1, 4, "gct", True), (2, 1, None, True), (1, 2, "se", False), (3, 3, "eca", True)],
)
def test_sub_network_is_its_definition(batch, num_blocks, kind, with_fusion, layout):
    group = build_group(num_blocks, kind, with_fusion)
    x = image(batch, 5, 6, 7).to(memory_format=layout).requires_grad_()
    fusion = image(batch, 5, 6, 7, seed=1).requires_grad_()
    inputs = [x, fusion, *group.parameters()]
    made, expected = ([y for y in f(x, fusion) if y is not None] for f in (group, lambda *a: plain_group(group, *a)))
    assert len(made) == 1 + with_fusion
    assert_same(made, expected)
    assert_same(gradients(made, inputs), gradients(expected, inputs))
    with torch.no_grad():
        assert_same([y for y in group(x, fusion) if y is not None], expected)


def test_dense_branch_is_its_definition():
    branch, x = DenseBranch(3, 3).double(), image(2, 3, 5, 4).requires_grad_()
    inputs = [x, *branch.parameters()]
    assert_same([branch(x)], [plain_branch(branch, x)])
    assert_same(gradients([branch(x)], inputs), gradients([plain_branch(branch, x)], inputs))


def test_either_output_alone_and_an_unwanted_fusion_map():
    group, x = build_group(), image(2, 5, 4, 4).requires_grad_()
    inputs = [x, *group.parameters()]
    for which in range(2):
        made, expected = group(x)[which], plain_group(group, x, None)[which]
        assert_same(gradients([made], inputs), gradients([expected], inputs))
    assert group(x, want_fusion=False)[1] is None
    expected = gradients([plain_group(group, x, None)[0]], inputs)
    assert_same(gradients([group(x, want_fusion=False)[0]], inputs), expected)


def test_a_graph_kept_gives_the_same_gradients_again_and_in_part():
    group, x = build_group(), image(2, 5, 4, 4).requires_grad_()
    inputs = [x, *group.parameters()]
    total = sum(y.square().sum() for y in group(x))
    part = [group.merges[1][0].weight, group.units[2].body[0].weight]
    expected = torch.autograd.grad(sum(y.square().sum() for y in plain_group(group, x, None)), inputs)
    partly = torch.autograd.grad(total, part, retain_graph=True)
    for _ in range(2):
        assert_same(torch.autograd.grad(total, inputs, retain_graph=True), expected)
    chosen = {id(p): g for p, g in zip(inputs, expected)}
    assert_same(partly, [chosen[id(p)] for p in part])


def test_frozen_parts_get_no_gradient_and_leave_that_of_others():
    group, x = build_group(), image(2, 5, 4, 4)
    expected = gradients(plain_group(group, x, None), list(group.parameters()))
    frozen = copy.deepcopy(group)
    for module in (frozen.units[1], frozen.merges[0], frozen.fusion):
        module.requires_grad_(False)
    kept = [p for p in frozen.parameters() if p.requires_grad]
    names = [name for name, p in frozen.named_parameters() if p.requires_grad]
    by_name = dict(zip([name for name, _ in group.named_parameters()], expected))
    assert_same(gradients(frozen(x), kept), [by_name[name] for name in names])


@pytest.mark.parametrize("kind", ["gct", "eca", "se"])
def test_a_gate_on_the_kernel_of_one_image_is_the_gate_on_the_map(kind):
    unit = build_group(1, kind).units[0]
    x = image(1, 5, 6, 7)
    torch.testing.assert_close(unit(x), plain_unit(unit, x), rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(unit(x), unit(x.expand(2, -1, -1, -1))[:1], rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("kind", ["gct", "eca", "se"])
def test_channel_attention_gradcheck(kind):
    attention = build_channel_attention(kind, 3).double()
    for parameter in attention.parameters():
        torch.nn.init.normal_(parameter)
    x = (image(2, 3, 4, 5) - 0.5).requires_grad_()
    assert torch.autograd.gradcheck(attention, (x,))


def test_bfloat16_autocast_stays_close_to_float32():
    group = build_group(4, num_feat=16).float()
    x = image(2, 16, 12, 12).float().requires_grad_()
    with torch.autocast("cpu", torch.bfloat16):
        low = group(x, x)
    full = group(x, x)
    for a, b in zip(low, full):
        assert (a.float() - b).norm() < 0.02 * b.norm()
    assert low[1].dtype == torch.bfloat16
    inputs = list(group.parameters())
    for a, b in zip(gradients([y.double() for y in low], inputs), gradients([y.double() for y in full], inputs)):
        assert a.dtype == torch.float32
        assert (a - b).norm() < 0.05 * b.norm() + 1e-3
