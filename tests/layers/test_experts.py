"""Mixtures of experts: against a loop over experts, the chosen ones against all, noise, loads, gradients."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from msgnn_plugin.layers.experts import ExpertMixture
from msgnn_plugin.layers.gated_feed_forward import GatedFeedForward


def mixture(top_k=1, num_experts=3, noise_std=0.0, num_feat=8, hidden=16, seed=0):
    torch.manual_seed(seed)
    made = ExpertMixture(
        num_feat=num_feat, hidden=hidden, num_experts=num_experts, top_k=top_k, noise_std=noise_std
    ).double()
    # Images must differ in what they choose.
    nn.init.normal_(made.router.linear.weight, std=20.0)
    return made


def maps(batch=6, size=(7, 5), seed=1):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(batch, 8, *size, dtype=torch.float64, generator=generator)


def by_hand(made, x):
    """Eq. 11-14, expert by expert and image by image."""
    experts = []
    for e in range(made.num_experts):
        net = GatedFeedForward(8, 16).double()
        with torch.no_grad():
            net.expand.weight.copy_(made.expand[e].view_as(net.expand.weight))
            net.depthwise.weight.copy_(made.depthwise[e].view_as(net.depthwise.weight))
            net.project.weight.copy_(made.project[e].view_as(net.project.weight))
        experts.append(net)
    derived = torch.zeros_like(x)
    for b, image in enumerate(x):
        logits = made.router.linear.weight @ image.mean((1, 2)) + made.router.linear.bias
        weights = logits.exp() / logits.exp().sum()
        for e in sorted(range(made.num_experts), key=lambda e: -weights[e])[: made.top_k]:
            derived[b] += weights[e] * experts[e](image[None])[0]
    return derived


@pytest.mark.parametrize("top_k", [1, 2, 3])
def test_is_the_weighted_sum_of_its_experts(top_k):
    made, x = mixture(top_k), maps()
    torch.testing.assert_close(made.eval()(x), by_hand(made, x), atol=1e-12, rtol=1e-9)


@pytest.mark.parametrize("top_k", [1, 2])
@pytest.mark.parametrize("batch", [1, 2, 7])
def test_chosen_experts_equal_all_of_them(top_k, batch):
    made, x = mixture(top_k).float(), maps(batch).float()
    weights = made.route(x)
    assert ((weights != 0).sum(1) == top_k).all()
    sparse, dense = made.run_chosen(x, weights), made.run_all(x, weights)
    torch.testing.assert_close(sparse, dense, atol=1e-6, rtol=1e-6)
    ours = torch.autograd.grad(sparse.square().sum(), made.parameters(), retain_graph=True)
    others = torch.autograd.grad(dense.square().sum(), made.parameters())
    for one, other in zip(ours, others):
        torch.testing.assert_close(one, other, atol=1e-4, rtol=1e-5)


def test_images_choose_different_experts_and_experts_see_them_alone(monkeypatch):
    made, x = mixture(), maps(8)
    chosen = made.route(x).argmax(1)
    assert len(chosen.unique()) > 1
    seen = []
    run = ExpertMixture._run
    monkeypatch.setattr(ExpertMixture, "_run", lambda self, e, x, w: seen.append((e, len(x))) or run(self, e, x, w))
    made(x)
    assert seen == [(e, int((chosen == e).sum())) for e in range(3) if (chosen == e).any()]


def test_soft_weights_sum_to_one_and_all_experts_is_soft():
    made, x = mixture(top_k=3), maps()
    weights = made.route(x)
    torch.testing.assert_close(weights.sum(1), torch.ones(6, dtype=torch.float64))
    assert (weights > 0).all()
    torch.testing.assert_close(made.run_chosen(x, weights), made.run_all(x, weights), atol=1e-12, rtol=1e-9)


def test_every_tensor_gets_a_gradient_whichever_expert_ran():
    made = mixture()
    made(maps(1)).sum().backward()
    expert = made.route(maps(1)).argmax().item()
    assert all(parameter.grad is not None for parameter in made.parameters())
    moved = made.project.grad.abs().amax((1, 2)) > 0
    assert moved.tolist() == [number == expert for number in range(3)]


def test_noise_is_a_function_of_the_seed_in_training_and_absent_otherwise():
    made, x = mixture(top_k=3, noise_std=0.5), maps()
    drawn = []
    for seed in (3, 3, 4):
        torch.manual_seed(seed)
        drawn.append(made.route(x, noise=True))
    assert torch.equal(drawn[0], drawn[1])
    assert not torch.equal(drawn[0], drawn[2])
    made.eval()
    assert torch.equal(made(x), made(x))
    before = torch.get_rng_state()
    made(x)
    assert torch.equal(torch.get_rng_state(), before)


def test_noise_is_added_to_the_mean():
    made = mixture(top_k=3, noise_std=2.0)
    x = torch.zeros(4000, 8, 1, 1, dtype=torch.float64)
    seen = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(F, "linear", lambda mean, *_: seen.append(mean) or mean[:, :3])
        made.router(x, noise=True)
    assert seen[0].std().item() == pytest.approx(2.0, abs=0.05)


def test_loads_follow_the_training_batches():
    made, x = mixture(), maps(8)
    shares = (made.route(x) != 0).double().mean(0)
    expected = torch.full((3,), 1 / 3, dtype=torch.float64)
    for _ in range(5):
        made(x)
        expected += 0.01 * (shares - expected)
    torch.testing.assert_close(made.load, expected, atol=1e-7, rtol=0)
    made.eval()(x)
    torch.testing.assert_close(made.load, expected, atol=1e-7, rtol=0)
    assert "load" not in made.state_dict()


def test_loads_are_those_without_noise():
    made, x = mixture(noise_std=100.0), maps(8)
    shares = (made.route(x) != 0).double().mean(0)
    made(x)
    torch.testing.assert_close(made.load, 1 / 3 + 0.01 * (shares - 1 / 3), atol=1e-7, rtol=0)


def test_soft_loads_are_mean_weights():
    made, x = mixture(top_k=3), maps(8)
    made(x)
    torch.testing.assert_close(made.load, 1 / 3 + 0.01 * (made.route(x).detach().mean(0) - 1 / 3), atol=1e-7, rtol=0)


def test_autocast_routes_in_float32():
    made, x = mixture(top_k=2).float().eval(), maps().float()
    with torch.autocast("cpu", torch.bfloat16):
        weights = made.route(x.bfloat16())
        low = made(x)
    assert weights.dtype == torch.float32
    torch.testing.assert_close(low.float(), made(x), atol=0.1, rtol=0.1)


@pytest.mark.parametrize("top_k", [1, 3])
def test_compiles_without_a_break_and_gives_the_same(top_k):
    made, x = mixture(top_k).float(), maps().float()
    compiled = torch.compile(made, fullgraph=True, backend="aot_eager")
    torch.testing.assert_close(compiled(x), made(x), atol=1e-6, rtol=1e-6)
    compiled(x).sum().backward()
    assert all(parameter.grad is not None for parameter in made.parameters())
