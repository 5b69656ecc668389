"""The layer contrastive losses against loops over the patches and against the authors' own numbers."""

import math

import numpy as np
import pytest
import torch

from msgnn_plugin.losses import AsymmetricLayerContrastiveLoss, LayerContrastiveLoss

BOTH = (LayerContrastiveLoss, AsymmetricLayerContrastiveLoss)
# With these the asymmetric loss is NLCL's, whose rain weighs by its 128 of 136 patches.
AS_NLCL = {"background_weight": 8 / 136, "rain_weight": 128 / 136}


def unit_vectors(*shape, seed=0, dtype=torch.float64):
    vectors = torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)
    return vectors / vectors.norm(dim=-1, keepdim=True)


def terms_by_hand(background, rain, temperatures=(0.07, 0.07)):
    """The term of each patch of both classes, (N_B, D) and (N_R, D)."""
    vectors = [(0, vector) for vector in background.tolist()] + [(1, vector) for vector in rain.tolist()]
    terms = ([], [])
    for i, (kind, asking) in enumerate(vectors):
        weights = [
            math.exp(sum(a * b for a, b in zip(asking, other)) / temperatures[kind]) if j != i else 0.0
            for j, (_, other) in enumerate(vectors)
        ]
        positives = [weights[j] for j, (other_kind, _) in enumerate(vectors) if other_kind == kind and j != i]
        terms[kind].append(-np.mean([math.log(one / sum(weights)) for one in positives]) if positives else 0.0)
    return terms


def test_matches_a_loop():
    background, rain = unit_vectors(3, 5), unit_vectors(7, 5, seed=1)
    terms = terms_by_hand(background, rain)
    assert LayerContrastiveLoss()(background, rain).item() == pytest.approx(np.mean(terms[0] + terms[1]), rel=1e-12)
    terms = terms_by_hand(background, rain, (0.3, 0.3))
    loss = LayerContrastiveLoss(temperature=0.3, loss_weight=2.0)
    assert loss(background, rain).item() == pytest.approx(2 * np.mean(terms[0] + terms[1]), rel=1e-12)


def test_asymmetric_matches_a_loop():
    background, rain = unit_vectors(3, 5), unit_vectors(7, 5, seed=1)
    terms = terms_by_hand(background, rain, (0.2, 0.05))
    loss = AsymmetricLayerContrastiveLoss(
        background_weight=0.4, rain_weight=1.5, background_temperature=0.2, rain_temperature=0.05, loss_weight=2.0
    )
    wanted = 2 * (0.4 * np.mean(terms[0]) + 1.5 * np.mean(terms[1]))
    assert loss(background, rain).item() == pytest.approx(wanted, rel=1e-12)


@pytest.mark.parametrize("loss", [LayerContrastiveLoss(), AsymmetricLayerContrastiveLoss(**AS_NLCL)])
def test_matches_the_authors(shared, loss):
    golden = shared / "golden" / "nlcl"
    given = np.load(golden / "loss_inputs.npz")
    background, rain = (torch.from_numpy(given[name]).requires_grad_() for name in ("fb", "fr"))
    value = loss(background, rain)
    assert value.item() == pytest.approx(5.186983585, rel=1e-5)
    value.backward()
    gradients = np.load(golden / "loss_grads.npz")
    for found, name in ((background.grad, "dfb"), (rain.grad, "dfr")):
        assert np.abs(found.numpy() - gradients[name]).max() < 1e-5 * np.abs(gradients[name]).max()


@pytest.mark.parametrize("kind", BOTH)
def test_batches_and_maps_are_averaged_picture_by_picture(kind):
    backgrounds = [unit_vectors(3, 4, 6), unit_vectors(3, 5, 7, seed=1)]
    rains = [unit_vectors(3, 9, 6, seed=2), unit_vectors(3, 8, 7, seed=3)]
    loss = kind()
    single = [loss(b, r).item() for pair in zip(backgrounds, rains) for b, r in zip(*pair)]
    assert loss(backgrounds, rains).item() == pytest.approx(np.mean(single), rel=1e-12)


@pytest.mark.parametrize("kind", BOTH)
def test_gradcheck(kind):
    background, rain = unit_vectors(2, 4, 4).requires_grad_(), unit_vectors(2, 4, 4, seed=1).requires_grad_()
    assert torch.autograd.gradcheck(kind(), (background, rain))


@pytest.mark.parametrize("kind", BOTH)
def test_duplicates_are_finite(kind):
    same = unit_vectors(1, 4, dtype=torch.float32).repeat(6, 1).requires_grad_()
    loss = kind()(same, same)
    assert loss.item() == pytest.approx(math.log(11), rel=1e-5)
    loss.backward()
    assert same.grad.isfinite().all()
    assert kind()(100 * same, -100 * same).isfinite()


@pytest.mark.parametrize("kind", BOTH)
def test_a_class_of_one_patch_contributes_nothing(kind):
    background = unit_vectors(1, 4).requires_grad_()
    rain = unit_vectors(3, 4, seed=1)
    loss = kind()(background, rain)
    share = 3 / 4 if kind is LayerContrastiveLoss else 0.75
    assert loss.item() == pytest.approx(share * np.mean(terms_by_hand(background, rain)[1]), rel=1e-12)
    both = kind()(background, rain[:1])
    both.backward()
    assert both.item() == 0
    assert (background.grad == 0).all()


def test_half_precision_is_computed_in_float32():
    background, rain = (unit_vectors(9, 8, seed=seed, dtype=torch.float32).bfloat16() for seed in (0, 1))
    with torch.autocast("cpu", torch.bfloat16):
        loss = LayerContrastiveLoss()(background, rain)
    terms = terms_by_hand(background.float(), rain.float())
    assert loss.dtype == torch.float32
    assert loss.item() == pytest.approx(np.mean(terms[0] + terms[1]), rel=1e-5)


def asymmetric(**settings):
    return AsymmetricLayerContrastiveLoss(
        background_weight=0.4, rain_weight=1.5, background_temperature=0.2, rain_temperature=0.05, **settings
    )


def test_auto_gives_the_simpler_layer_the_rain_s_values():
    loss = asymmetric(direction="auto")
    assert (loss.weights, loss.temperatures) == ((0.4, 1.5), (0.2, 0.05))
    assert (loss.num_background, loss.num_rain) == (8, 128)
    assert loss.orient(7.7, 18.0)
    assert (loss.weights, loss.temperatures) == ((1.5, 0.4), (0.05, 0.2))
    assert (loss.num_background, loss.num_rain) == (128, 8)
    background, rain = unit_vectors(3, 5), unit_vectors(7, 5, seed=1)
    # The same as the loss whose layers trade places.
    assert loss(background, rain).item() == pytest.approx(asymmetric()(rain, background).item(), rel=1e-12)
    assert loss.orient(3.0, 9.0), "a second call with the same finding changes nothing"
    assert not loss.orient(9.0, 3.0)
    assert (loss.num_background, loss.num_rain) == (8, 128)
    assert not loss.orient(5.0, 5.0)


def test_as_given_stays_as_given():
    loss = asymmetric()
    assert not loss.orient(1.0, 9.0)
    assert (loss.num_background, loss.num_rain) == (8, 128)


def test_the_direction_is_saved():
    loss = asymmetric(direction="auto")
    loss.orient(1.0, 9.0)
    again = asymmetric(direction="auto")
    again.load_state_dict(loss.state_dict())
    assert (again.num_background, again.num_rain) == (128, 8)


@pytest.mark.parametrize("dimension", [math.nan, math.inf, -1.0])
def test_dimensions_must_be_numbers(dimension):
    with pytest.raises(ValueError, match="`rain_dimension` must be finite and at least 0"):
        asymmetric(direction="auto").orient(3.0, dimension)


@pytest.mark.parametrize("kind", BOTH)
@pytest.mark.parametrize(
    ("given", "error", "match"),
    [
        (([], []), ValueError, "`background` must hold at least 1 feature map, got none"),
        ((torch.rand(4), torch.rand(4)), ValueError, r"`background` must have shape .*got \(4,\)"),
        ((torch.rand(2, 4), torch.rand(0, 4)), ValueError, "`rain` must have shape .* with no empty axis"),
        ((torch.rand(2, 4), torch.ones(2, 4).int()), TypeError, "`rain` must be floating-point.*int32"),
        (
            (torch.rand(2, 4), torch.rand(2, 5)),
            ValueError,
            r"`rain` must have the batch and D .*\(1, 4\), got \(1, 5\)",
        ),
        (
            (torch.rand(2, 2, 4), torch.rand(3, 2, 4)),
            ValueError,
            r"`rain` must have the batch and D .*\(2, 4\), got \(3, 4\)",
        ),
        ((torch.rand(2, 4), [torch.rand(2, 4)] * 2), ValueError, "`rain` must hold as many feature maps"),
    ],
)
def test_rejects(kind, given, error, match):
    with pytest.raises(error, match=f"{kind.__name__}: {match}"):
        kind()(*given)


@pytest.mark.parametrize(
    ("kind", "field", "value"),
    [
        (LayerContrastiveLoss, "temperature", 0.0),
        (LayerContrastiveLoss, "num_background", 0),
        (LayerContrastiveLoss, "num_rain", 0),
        (AsymmetricLayerContrastiveLoss, "background_weight", -0.1),
        (AsymmetricLayerContrastiveLoss, "rain_weight", math.nan),
        (AsymmetricLayerContrastiveLoss, "background_temperature", 0.0),
        (AsymmetricLayerContrastiveLoss, "rain_temperature", -1.0),
        (AsymmetricLayerContrastiveLoss, "num_background", 0),
        (AsymmetricLayerContrastiveLoss, "num_rain", 0),
        (AsymmetricLayerContrastiveLoss, "direction", "left"),
    ],
)
def test_rejects_settings(kind, field, value):
    with pytest.raises(ValueError, match=f"{kind.__name__}: `{field}` must be"):
        kind(**{field: value})
