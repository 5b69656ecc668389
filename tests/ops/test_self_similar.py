"""`self_similar_patches` against a float64 brute force and against the authors' own ids."""

import numpy as np
import pytest
import torch

from msgnn_plugin import _extension
from msgnn_plugin.ops import draw_anchors, self_similar_patches

CAPABILITIES = ("portable", "avx2", "avx512")


@pytest.fixture(params=CAPABILITIES)
def capability(request, monkeypatch):
    """Every instruction set in turn; one that the processor lacks gives way to the best it has."""
    monkeypatch.setenv("MSGNN_CPU_CAPABILITY", request.param)


def random_image(*shape, seed=0, dtype=torch.float32):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed)).to(dtype)


def brute_force(image, anchor, k, patch_size=16, radius=20):
    """Centres and squared distances for one picture, (C, H, W), by two loops over the candidates."""
    image = image.astype(np.float64)
    half = patch_size // 2

    def patch(row, column):
        return image[:, row - half : row - half + patch_size, column - half : column - half + patch_size]

    found = []
    for row in range(max(anchor[0] - radius, half), min(anchor[0] + radius, image.shape[1] - half)):
        for column in range(max(anchor[1] - radius, half), min(anchor[1] + radius, image.shape[2] - half)):
            with np.errstate(all="ignore"):
                total = np.square(patch(row, column) - patch(*anchor)).sum()
            found.append((np.inf if np.isnan(total) else total, row, column))
    found.sort()
    return [place[1:] for place in found[:k]], [place[0] for place in found[:k]]


def check(image, anchor, k, **settings):
    centres, distance = self_similar_patches(image, anchor, num_neighbors=k, **settings)
    names = {"patch_size": "patch_size", "search_radius": "radius"}
    for b in range(len(image)):
        expected = brute_force(
            image[b].double().numpy(), anchor[b].tolist(), k, **{names[key]: value for key, value in settings.items()}
        )
        np.testing.assert_array_equal(centres[b].numpy(), expected[0])
        np.testing.assert_allclose(distance[b].numpy(), expected[1], rtol=1e-6)
    return centres, distance


# Corners, where fewest candidates are left, and the middle, of a picture that is not square.
ANCHORS = torch.tensor([[16, 16], [45, 74], [16, 74], [30, 40]])


@pytest.mark.parametrize("channels", [1, 3, 7])
def test_matches_brute_force(capability, channels):
    image = random_image(4, channels, 61, 90)
    centres, distance = check(image, ANCHORS, 256)
    assert torch.equal(centres[:, 0], ANCHORS)
    assert (distance[:, 0] == 0).all()


@pytest.mark.parametrize(("patch_size", "radius"), [(3, 2), (4, 60), (5, 7), (16, 1), (1, 3), (2, 30)])
def test_other_patches_and_radii(capability, patch_size, radius):
    anchor = torch.tensor([[20, 33], [16, 16]])
    check(random_image(2, 2, 41, 67), anchor, 4, patch_size=patch_size, search_radius=radius)


def test_the_plain_body_matches_brute_force_too():
    """The body that a GPU, or a machine without a compiler, runs."""
    from msgnn_plugin.ops import self_similar

    image = random_image(4, 3, 61, 90)
    image[1, 0, 40, 70] = torch.nan
    centres, distance = self_similar._self_similar_patches._init_fn(image, ANCHORS, 200, 16, 20)
    compiled = self_similar_patches(image, ANCHORS, num_neighbors=200)
    assert torch.equal(centres, compiled[0])
    torch.testing.assert_close(distance, compiled[1], rtol=1e-6, atol=0)
    np.testing.assert_array_equal(centres[0].numpy(), brute_force(image[0].numpy(), [16, 16], 200)[0])


def test_the_smallest_picture_gives_every_place():
    anchor = torch.tensor([[16, 16]])
    centres, _ = check(random_image(1, 3, 32, 32), anchor, 256)
    wanted = torch.cartesian_prod(torch.arange(8, 24), torch.arange(8, 24))
    assert {tuple(place) for place in centres[0].tolist()} == {tuple(place) for place in wanted.tolist()}


def test_ties_go_to_the_smaller_place(capability):
    anchor = torch.tensor([[20, 24]])
    centres, distance = check(torch.full((1, 2, 50, 60), 0.3), anchor, 50)
    assert centres[0, :3].tolist() == [[8, 8], [8, 9], [8, 10]]
    assert (distance == 0).all()
    # Few distinct values: many equal patches beside different ones.
    levels = torch.randint(0, 2, (1, 1, 50, 60), generator=torch.Generator().manual_seed(1)).float()
    check(levels, anchor, 200, patch_size=2)


def test_differences_that_float32_cannot_sum(capability):
    check(1000 + random_image(1, 4, 50, 50) * 1e-3, torch.tensor([[25, 20]]), 64)


@pytest.mark.parametrize("value", [torch.nan, torch.inf, -torch.inf])
def test_what_is_not_finite_counts_as_infinitely_far(capability, value):
    image = random_image(2, 2, 48, 52)
    image[0, 1, 12, 14] = value  # in some candidates
    image[1, 0, 25, 25] = value  # in the anchor, so in all distances
    centres, distance = check(image, torch.tensor([[30, 30], [25, 25]]), 600)
    assert not distance.isnan().any()
    assert distance[1].isinf().all()
    assert ((centres >= 8) & (centres < torch.tensor([40, 44]))).all()


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16, torch.float16])
def test_other_dtypes(dtype):
    _, distance = check(random_image(1, 3, 40, 44, dtype=dtype), torch.tensor([[18, 22]]), 64)
    assert distance.dtype == (torch.float64 if dtype == torch.float64 else torch.float32)


def test_layouts_of_memory_do_not_matter():
    image = random_image(2, 6, 50, 53)
    anchor = torch.tensor([[18, 22], [30, 30]])
    wanted = self_similar_patches(image, anchor, num_neighbors=100)
    for same in (image.contiguous(memory_format=torch.channels_last), image.mT.contiguous().mT):
        found = self_similar_patches(same, anchor.mT.contiguous().mT, num_neighbors=100)
        assert all(torch.equal(a, b) for a, b in zip(found, wanted))


def test_a_batch_is_its_pictures_one_by_one():
    image = random_image(4, 3, 61, 90)
    together = self_similar_patches(image, ANCHORS, num_neighbors=30)
    for b in range(4):
        alone = self_similar_patches(image[b : b + 1], ANCHORS[b : b + 1], num_neighbors=30)
        assert all(torch.equal(one[0], all_of_them[b]) for one, all_of_them in zip(alone, together))


def test_threads_do_not_change_a_bit(capability):
    image = random_image(4, 5, 61, 90)
    threads = torch.get_num_threads()
    results = []
    try:
        for count in (1, 2, 7):
            torch.set_num_threads(count)
            results.append(self_similar_patches(image, ANCHORS, num_neighbors=250))
    finally:
        torch.set_num_threads(threads)
    for result in results[1:]:
        assert all(torch.equal(a, b) for a, b in zip(result, results[0]))


def test_no_gradient_flows():
    image = random_image(1, 3, 40, 40).requires_grad_()
    centres, distance = self_similar_patches(image, torch.tensor([[20, 20]]), num_neighbors=4)
    assert not centres.requires_grad
    assert not distance.requires_grad


@pytest.mark.parametrize("seed", [0, 1, 7])
def test_finds_what_the_authors_sampler_found(shared, seed):
    cv2 = pytest.importorskip("cv2")
    golden = shared / "golden" / "nlcl"
    picture = cv2.imread(str(golden / "sampler_image_256.png"), cv2.IMREAD_COLOR)[..., ::-1].copy()
    image = torch.from_numpy(picture).permute(2, 0, 1)[None].float() / 255 * 2 - 1
    wanted = np.load(golden / "sampler_ids.npz")
    anchor = torch.from_numpy(wanted[f"s{seed}_loc"]).long().view(1, 2)
    for k in (8, 128, 256):
        centres, distance = self_similar_patches(image, anchor, num_neighbors=k)
        ids = wanted[f"s{seed}_n{k}_ids"]
        assert {tuple(place) for place in centres[0].tolist()} == {tuple(place) for place in ids.tolist()}
        np.testing.assert_allclose(distance[0].sqrt().numpy(), wanted[f"s{seed}_n{k}_dist"], atol=1e-5)


def test_anchors_are_uniform_inclusive_and_seeded():
    anchors = draw_anchors(20_000, (34, 37), torch.Generator().manual_seed(0))
    for axis, last in ((0, 18), (1, 21)):
        values, counts = anchors[:, axis].unique(return_counts=True)
        assert values.tolist() == list(range(16, last + 1))
        expected = len(anchors) / len(values)
        assert (counts - expected).abs().max() < 6 * expected**0.5
    assert torch.equal(anchors[:5], draw_anchors(20_000, (34, 37), torch.Generator().manual_seed(0))[:5])
    assert draw_anchors(3, (32, 32), torch.Generator()).tolist() == [[16, 16]] * 3
    assert draw_anchors(3, (8, 9), patch_size=4).amin() >= 4


def test_opcheck():
    arguments = (random_image(2, 2, 33, 40), torch.tensor([[16, 16], [17, 24]]), 9, 16, 20)
    torch.library.opcheck(torch.ops.msgnn_plugin.self_similar_patches.default, arguments)


@pytest.mark.parametrize(
    ("change", "error", "match"),
    [
        ({"image": torch.rand(3, 40, 40)}, ValueError, r"`image` must have shape \(B, C, H, W\).*got \(3, 40, 40\)"),
        ({"image": torch.zeros(1, 3, 40, 40, dtype=torch.uint8)}, TypeError, "`image` must be a floating-point"),
        ({"image": torch.rand(1, 3, 31, 40)}, ValueError, "must be at least 32, twice `patch_size`, got 31x40"),
        ({"anchor": torch.tensor([20, 20])}, ValueError, r"shape \(B, 2\) = \(1, 2\), got \(2,\)"),
        ({"anchor": torch.tensor([[20.0, 20.0]])}, TypeError, "`anchor` must be int64"),
        ({"anchor": torch.tensor([[7, 20]])}, ValueError, r"`anchor` must lie in \[8, 31\] x \[8, 31\].*got \[7, 20\]"),
        ({"anchor": torch.tensor([[20, 32]])}, ValueError, r"`anchor` must lie in .*got \[20, 32\]"),
        ({"num_neighbors": 577}, ValueError, "`num_neighbors` must be at most 576, the number of .*got 577"),
        ({"num_neighbors": 0}, ValueError, "`num_neighbors` must be at least 1, got 0"),
        ({"patch_size": 0}, ValueError, "`patch_size` must be at least 1, got 0"),
        ({"search_radius": 0}, ValueError, "`search_radius` must be at least 1, got 0"),
    ],
)
def test_rejects(change, error, match):
    arguments = {"image": torch.rand(1, 3, 40, 40), "anchor": torch.tensor([[20, 20]]), "num_neighbors": 4}
    with pytest.raises(error, match=match):
        self_similar_patches(**{**arguments, **change})


def test_anchors_need_room():
    with pytest.raises(ValueError, match=r"draw_anchors: both sides .* at least 32.*got 64x30"):
        draw_anchors(1, (64, 30))


@pytest.mark.parametrize(
    ("anchor", "numbers", "match"),
    [
        ([[20, 20]], (577, 16, 20), "`num_neighbors` must be at most 576"),
        ([[20, 20]], (0, 16, 20), "must be at least 1"),
        ([[7, 20]], (4, 16, 20), "`anchor` must lie in"),
        ([[20, 32]], (4, 16, 20), "`anchor` must lie in"),
        ([[20, 20]], (4, 0, 20), "must be at least 1"),
        ([[20, 20]], (4, 64, 20), "`anchor` must lie in"),
    ],
)
@pytest.mark.skipif(not _extension.LOADED, reason="compiled ops are not loaded")
def test_the_compiled_op_itself_refuses_what_would_leave_the_picture(anchor, numbers, match):
    """A compiled program calls it without the Python side's checks of values."""
    with pytest.raises(ValueError, match=match):
        torch.ops.msgnn_plugin.self_similar_patches.default(torch.rand(1, 2, 40, 40), torch.tensor(anchor), *numbers)
