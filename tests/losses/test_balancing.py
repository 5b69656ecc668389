"""The balancer against hand-computed vectors, against a plain loop over the equations, and against its own traps."""

import math

import pytest
import torch

from msgnn_plugin.losses import MultiObjectiveBalancer
from msgnn_plugin.losses.balancing import adaptivity_factor, balance_score, stability_score

# Losses seen, slopes, balance, stability, factor and weights, computed apart from this package (N = 4, tau = 5).
REFERENCE = {
    4: ("-.19723 -.04643 -.25693 -.08637", ".15176 .42413 .10104 .32307", ".25 .25 .25 .25", 1.0),
    5: ("-.14611 -.04416 -.15583 -.07815", ".15564 .40696 .14200 .29540", ".24129 .27312 .21920 .26639", 0.875673),
    6: ("-.10824 -.04201 -.09452 -.07071", ".16352 .37870 .19460 .26318", ".23186 .29222 .19756 .27836", 0.764472),
    7: ("-.08019 -.03996 -.05733 -.02847", ".13380 .29227 .20858 .36535", ".24721 .34150 .20300 .20829", 0.176293),
    8: ("-.05940 -.03801 -.03477 .03242", ".07239 .12175 .13172 .67414", ".28593 .39499 .23479 .08429", 0.000078),
}
WEIGHTS = {
    4: ".15176 .42413 .10104 .32307",
    5: ".16629 .39032 .15160 .29179",
    6: ".17962 .35833 .19530 .26675",
    7: ".22722 .33282 .20398 .23598",
    8: ".28591 .39497 .23478 .08434",
}
# Mixed scores and what the script's two further softmaxes and its least weight make of them.
RELEASED = {
    (0.25, 0.25, 0.25, 0.25): (0.25, 0.25, 0.25, 0.25),
    (0.4, 0.3, 0.2, 0.1): (0.361, 0.252, 0.205, 0.182),
    (0.7, 0.1, 0.1, 0.1): (0.612, 0.129, 0.129, 0.129),
    (1.0, 0.0, 0.0, 0.0): (0.659, 0.114, 0.114, 0.114),
}


def numbers(text):
    return torch.tensor([float(number) for number in text.split()], dtype=torch.float64)


def made_losses():
    rates, starts = (0.30, 0.05, 0.50, 0.10), (0.10, 0.20, 0.08, 0.15)
    losses = [[start * math.exp(-rate * t) for start, rate in zip(starts, rates)] for t in range(8)]
    losses[6][3], losses[7][3] = 1.10 * losses[5][3], 1.25 * losses[5][3]
    return losses


def slope(values):
    """Least squares by the normal equations, as a loop."""
    n = len(values)
    middle, mean = (n - 1) / 2, sum(values) / n
    return sum((k - middle) * (y - mean) for k, y in enumerate(values)) / sum((k - middle) ** 2 for k in range(n))


def softmax(values):
    top = max(values)
    powers = [math.exp(value - top) for value in values]
    return [power / sum(powers) for power in powers]


def released_by_hand(losses, window, tau, warmup):
    """The authors' script, told as a loop."""
    kinds, slopes, worst = len(losses[0]), [], []
    for seen in range(1, len(losses) + 1):
        if seen < window or seen <= warmup:
            continue
        part = losses[seen - window : seen]
        slopes.append([slope([row[i] for row in part]) for i in range(kinds)])
        worst.append(slope([max(row) for row in part]))
    latest, recent, worst = slopes[-1], slopes[-window:], worst[-window:]
    total = sum(map(abs, latest)) + 1e-8
    balance = softmax([kinds * value / total for value in latest])
    stability = softmax([-len(recent) * latest[i] / (sum(abs(row[i]) for row in recent) + 1e-8) for i in range(kinds)])
    total = sum(map(abs, worst)) + 1e-8
    factor = softmax([-tau * len(worst) * value / total for value in worst])[-1]
    weights = [factor * b + (1 - factor) * s for b, s in zip(balance, stability)]
    for _ in range(2):
        weights = softmax([kinds * weight for weight in weights])
    return [weight * (1 - 0.1 * kinds) + 0.1 for weight in weights]


def test_paper_gives_the_reference():
    balancer = MultiObjectiveBalancer(4, 4, 5.0, "paper", 0)
    for seen, losses in enumerate(made_losses(), 1):
        weights = balancer.update(losses)
        assert weights.dtype == torch.float64
        assert weights.device.type == "cpu"
        expected = numbers(WEIGHTS[seen]) if seen >= 4 else torch.full((4,), 0.25, dtype=torch.float64)
        torch.testing.assert_close(weights, expected, atol=6e-6, rtol=0)
        assert weights.sum().item() == pytest.approx(1, abs=1e-12)


def test_each_equation_gives_the_reference():
    slopes = torch.stack([numbers(row[0]) for row in REFERENCE.values()])
    for step, (_, balance, stability, factor) in enumerate(REFERENCE.values(), 1):
        # The reference's slopes are rounded themselves.
        torch.testing.assert_close(balance_score(slopes[:step]), numbers(balance), atol=5e-5, rtol=0)
        torch.testing.assert_close(stability_score(slopes[:step], 4), numbers(stability), atol=5e-5, rtol=0)
        assert adaptivity_factor(slopes[:step].amax(1), 5.0).item() == pytest.approx(factor, abs=5e-4)


@pytest.mark.parametrize(("mode", "column"), [("tbs", 1), ("tss", 2)])
def test_each_score_alone(mode, column):
    balancer = MultiObjectiveBalancer(window=4, mode=mode)
    for seen, losses in enumerate(made_losses(), 1):
        weights = balancer.update(losses)
        if seen >= 4:
            torch.testing.assert_close(weights, numbers(REFERENCE[seen][column]), atol=6e-6, rtol=0)


def test_the_factor_falls_where_the_worst_objective_diverges():
    # Without the absolute value in Eq. 9 all-negative slopes flip the sign, and the factor stays at 1 throughout.
    slopes = torch.stack([numbers(row[0]) for row in REFERENCE.values()])
    worst = slopes.amax(1)
    literal = [
        min(step * (-5 * step * worst[:step] / worst[:step].sum()).softmax(0)[-1].item(), 1) for step in range(1, 6)
    ]
    assert literal == [1, 1, 1, 1, 1]
    assert adaptivity_factor(worst, 5.0) < 1e-3


@pytest.mark.parametrize(("window", "warmup", "count"), [(4, 0, 8), (3, 5, 8), (4, 0, 4), (10, 20, 45)])
def test_released_is_the_authors_script(window, warmup, count):
    losses = (made_losses() * 6)[:count]
    balancer = MultiObjectiveBalancer(window=window, mode="released", warmup=warmup)
    for row in losses:
        weights = balancer.update(row)
    expected = released_by_hand(losses, window, 5.0, warmup)
    torch.testing.assert_close(weights, torch.tensor(expected, dtype=torch.float64), atol=1e-10, rtol=0)
    assert weights.min() >= 0.1


@pytest.mark.parametrize(("mixed", "expected"), RELEASED.items())
def test_released_mixing_gives_the_reference(monkeypatch, mixed, expected):
    from msgnn_plugin.losses import balancing

    for name in ("balance_score", "stability_score"):
        monkeypatch.setattr(balancing, name, lambda *_: torch.tensor(mixed, dtype=torch.float64))
    balancer = MultiObjectiveBalancer(window=2, mode="released")
    balancer.update([1, 1, 1, 1])
    weights = balancer.update([1, 1, 1, 1])
    torch.testing.assert_close(weights, torch.tensor(expected, dtype=torch.float64), atol=6e-4, rtol=0)


def test_released_does_not_divide_by_the_first_loss():
    one, other = (MultiObjectiveBalancer(window=3, mode=mode) for mode in ("released", "paper"))
    scaled = torch.tensor([1, 10, 100, 1000], dtype=torch.float64)
    for losses in made_losses():
        one.update(losses), other.update(losses)
    before = one.weights(), other.weights()
    for balancer in (one, other):
        balancer.load_state_dict({"losses": balancer.losses * scaled})
    assert (one.weights() - before[0]).abs().max() > 1e-3
    torch.testing.assert_close(other.weights(), before[1])


@pytest.mark.parametrize("mode", ["paper", "released", "tbs", "tss", "equal"])
def test_restored_state_goes_on_identically(mode, tmp_path):
    whole = MultiObjectiveBalancer(window=3, mode=mode, warmup=1)
    rows = made_losses()
    for stop in range(len(rows)):
        torch.save(whole.state_dict(), tmp_path / "state")
        restored = MultiObjectiveBalancer(window=3, mode=mode, warmup=1)
        restored.load_state_dict(torch.load(tmp_path / "state", weights_only=True))
        assert torch.equal(restored.weights(), whole.weights())
        assert torch.equal(restored.update(rows[stop]), whole.update(rows[stop]))


@pytest.mark.parametrize("mode", ["paper", "released", "tbs", "tss"])
@pytest.mark.parametrize("losses", [[0.0, 0, 0, 0], [0.3, 0.2, 0.1, 0.4]])
def test_losses_that_stand_still_weigh_alike(mode, losses):
    balancer = MultiObjectiveBalancer(window=3, mode=mode)
    torch.testing.assert_close(balancer.weights(), torch.full((4,), 0.25, dtype=torch.float64))
    for _ in range(7):
        weights = balancer.update(losses)
        torch.testing.assert_close(weights, torch.full((4,), 0.25, dtype=torch.float64))


@pytest.mark.parametrize("mode", ["paper", "tbs", "tss"])
def test_rounding_is_no_slope(mode):
    balancer = MultiObjectiveBalancer(window=3, mode=mode)
    balancer.update([0.7, 0.3, 0.9, 0.1])
    for _ in range(5):
        weights = balancer.update([0.1, 0.07, 0.33, 0.09])
    torch.testing.assert_close(weights, torch.full((4,), 0.25, dtype=torch.float64))


@pytest.mark.parametrize("mode", ["paper", "released", "tbs", "tss"])
def test_weights_of_any_losses_sum_to_one(mode):
    generator = torch.Generator().manual_seed(0)
    balancer = MultiObjectiveBalancer(num_objectives=3, window=5, mode=mode)
    for step in range(60):
        scale = 10.0 ** (step % 13 - 6)
        weights = balancer.update(torch.rand(3, generator=generator) * scale)
        assert weights.sum().item() == pytest.approx(1, abs=1e-12)
        assert weights.min() >= 0


def test_warm_up_is_equal_and_its_slopes_do_not_count():
    balancer = MultiObjectiveBalancer(window=2, mode="tss", warmup=5)
    rows = made_losses()
    assert all(torch.equal(balancer.update(row), torch.full((4,), 0.25, dtype=torch.float64)) for row in rows[:5])
    # The first slope that counts is its own mean, so falling objectives score alike.
    torch.testing.assert_close(balancer.update(rows[5]), torch.full((4,), 0.25, dtype=torch.float64))
    assert (balancer.update(rows[6]) - 0.25).abs().max() > 0.01


def test_takes_tensors_of_any_kind():
    one, other = MultiObjectiveBalancer(2, 2), MultiObjectiveBalancer(2, 2)
    for losses in ([1.0, 0.5], [0.5, 0.375]):
        expected = one.update(losses)
        got = other.update(torch.tensor(losses, requires_grad=True).to(torch.bfloat16))
    assert torch.equal(got, expected)
    assert not got.requires_grad


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"num_objectives": 0}, "`num_objectives` must be at least 1, got 0"),
        ({"window": 1}, "`window` must be at least 2, got 1"),
        ({"warmup": -1}, "`warmup` must be at least 0, got -1"),
        ({"tau": 0.0}, "`tau` must be above 0 and finite, got 0.0"),
        ({"tau": float("nan")}, "`tau` must be above 0 and finite, got nan"),
        ({"mode": "both"}, "`mode` must be one of paper, released, .* got 'both'"),
        ({"num_objectives": 11, "mode": "released"}, "`num_objectives` must be at most 10 .* got 11"),
    ],
)
def test_refuses_settings(settings, message):
    with pytest.raises(ValueError, match=message):
        MultiObjectiveBalancer(**settings)


def test_refuses_losses_and_keeps_its_state():
    balancer = MultiObjectiveBalancer(window=2)
    balancer.update([1, 1, 1, 1])
    for losses, message in (
        ([1, 1, 1], "`losses` must hold 4 values, got 3"),
        ([1, 1, 1, float("nan")], "`losses` must be finite and at least 0, got nan"),
        ([1, 1, 1, float("inf")], "got inf"),
        ([1, 1, -0.5, 1], "got -0.5"),
    ):
        with pytest.raises(ValueError, match=message):
            balancer.update(losses)
    assert len(balancer.losses) == 1
    for state, message in (
        ({}, r"must have shape \(n, 4\), got NoneType"),
        ({"losses": torch.ones(2, 3)}, r"got shape \(2, 3\)"),
        ({"losses": torch.full((1, 4), float("nan"))}, "got nan"),
    ):
        with pytest.raises(ValueError, match=message):
            balancer.load_state_dict(state)
    assert len(balancer.losses) == 1
