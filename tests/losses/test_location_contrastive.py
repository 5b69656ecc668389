"""LocationContrastiveLoss against a loop over the queries and against the authors' own numbers."""

import math

import numpy as np
import pytest
import torch

from msgnn_plugin.losses import LocationContrastiveLoss


def unit_vectors(*shape, seed=0, dtype=torch.float64):
    vectors = torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)
    return vectors / vectors.norm(dim=-1, keepdim=True)


def by_hand(query, key, temperature=0.07):
    """Mean over the queries of (N, D) of -log softmax, with the query's own place among the negatives at -10."""
    total = 0.0
    for i, asking in enumerate(query.tolist()):
        products = [sum(a * b for a, b in zip(asking, answering)) for answering in key.tolist()]
        logits = [products[i], *(-10.0 if j == i else product for j, product in enumerate(products))]
        total -= math.log(math.exp(logits[0] / temperature) / sum(math.exp(logit / temperature) for logit in logits))
    return total / len(query)


def test_matches_a_loop():
    query, key = unit_vectors(9, 5), unit_vectors(9, 5, seed=1)
    assert LocationContrastiveLoss()(query, key).item() == pytest.approx(by_hand(query, key), rel=1e-12)
    loss = LocationContrastiveLoss(temperature=0.5, loss_weight=3.0)
    assert loss(query, key).item() == pytest.approx(3 * by_hand(query, key, 0.5), rel=1e-12)


def test_batches_and_maps_are_averaged():
    queries = [unit_vectors(3, 6, 4), unit_vectors(3, 8, 5, seed=1)]
    keys = [unit_vectors(3, 6, 4, seed=2), unit_vectors(3, 8, 5, seed=3)]
    single = [by_hand(q, k) for query, key in zip(queries, keys) for q, k in zip(query, key)]
    assert LocationContrastiveLoss()(queries, keys).item() == pytest.approx(np.mean(single), rel=1e-12)


def test_the_identity_pair_is_half_of_it():
    query, key, clean, target = (unit_vectors(6, 4, seed=seed) for seed in range(4))
    found = LocationContrastiveLoss()(query, key, clean, target).item()
    assert found == pytest.approx((by_hand(query, key) + by_hand(clean, target)) / 2, rel=1e-12)


def test_matches_the_authors(shared):
    golden = shared / "golden" / "nlcl"
    given = np.load(golden / "loss_inputs.npz")
    query = torch.from_numpy(given["q"]).requires_grad_()
    key = torch.from_numpy(given["k"]).requires_grad_()
    loss = LocationContrastiveLoss()(query, key)
    wanted = np.load(golden / "loss_patchnce_per_patch.npy").astype(np.float64).mean()
    assert loss.item() == pytest.approx(wanted, rel=1e-5)
    loss.backward()
    assert key.grad is None
    gradient = np.load(golden / "loss_grads.npz")["dq"]
    # Relative to the whole: at a loss of 1e-3, float32's 1 - p leaves single entries 3e-4 from the exact gradient.
    assert np.linalg.norm(query.grad.numpy() - gradient) < 1e-5 * np.linalg.norm(gradient)


def test_the_float32_gradient_is_near_the_exact_one(shared):
    given = np.load(shared / "golden" / "nlcl" / "loss_inputs.npz")
    gradients = []
    for dtype in (torch.float32, torch.float64):
        query = torch.from_numpy(given["q"]).to(dtype).requires_grad_()
        LocationContrastiveLoss()(query, torch.from_numpy(given["k"]).to(dtype)).backward()
        gradients.append(query.grad.double())
    assert (gradients[0] - gradients[1]).norm() < 1e-3 * gradients[1].norm()


def test_gradcheck():
    query, key = unit_vectors(2, 4, 4).requires_grad_(), unit_vectors(2, 4, 4, seed=1)
    assert torch.autograd.gradcheck(lambda given: LocationContrastiveLoss()(given, key), (query,))


def test_duplicates_and_single_queries_are_finite():
    same = unit_vectors(1, 4, dtype=torch.float32).repeat(7, 1).requires_grad_()
    loss = LocationContrastiveLoss()(same, same)
    assert loss.item() == pytest.approx(math.log(7), rel=1e-5)
    loss.backward()
    assert same.grad.isfinite().all()
    alone = unit_vectors(1, 4, dtype=torch.float32)
    assert LocationContrastiveLoss()(alone, alone).item() == 0
    assert LocationContrastiveLoss()(100 * same, -100 * same).isfinite()


def test_half_precision_is_computed_in_float32():
    query, key = (unit_vectors(20, 8, seed=seed, dtype=torch.float32).bfloat16() for seed in (0, 1))
    with torch.autocast("cpu", torch.bfloat16):
        loss = LocationContrastiveLoss()(query, key)
    assert loss.dtype == torch.float32
    assert loss.item() == pytest.approx(by_hand(query.float(), key.float()), rel=1e-5)


@pytest.mark.parametrize(
    ("given", "error", "match"),
    [
        (([], []), ValueError, "`query` must hold at least 1 feature map, got none"),
        ((torch.rand(4), torch.rand(4)), ValueError, r"`query` must have shape \(B, N, D\) or \(N, D\).*got \(4,\)"),
        ((torch.rand(0, 4), torch.rand(0, 4)), ValueError, "with no empty axis"),
        ((torch.ones(2, 4).int(), torch.rand(2, 4)), TypeError, "`query` must be floating-point.*int32"),
        (([1.0], torch.rand(2, 4)), TypeError, "`query` must be floating-point tensors, got float"),
        ((torch.rand(2, 4), torch.rand(3, 4)), ValueError, r"`key` must have the shape of `query`, \(1, 2, 4\)"),
        ((torch.rand(2, 4), [torch.rand(2, 4)] * 2), ValueError, "`key` must hold as many feature maps as `query`, 1"),
        ((torch.rand(2, 4),) * 3, ValueError, "must come together, got no `identity_key`"),
        ((torch.rand(2, 4),) * 3 + (torch.rand(2, 5),), ValueError, "`identity_key` must have the shape of"),
    ],
)
def test_rejects(given, error, match):
    with pytest.raises(error, match=match):
        LocationContrastiveLoss()(*given)


@pytest.mark.parametrize("settings", [{"temperature": 0.0}, {"temperature": math.nan}, {"num_patches": 0}])
def test_rejects_settings(settings):
    with pytest.raises(ValueError, match=f"LocationContrastiveLoss: `{next(iter(settings))}` must be"):
        LocationContrastiveLoss(**settings)
