"""Where tiles lie, what they weigh, and that blending them loses nothing."""

import itertools

import pytest
import torch

from msgnn_plugin.layers.tiles import blend_weights, run_in_tiles, tile_spans

SIDES = (1, 2, 11, 12, 13, 40, 41, 64, 65, 100, 333)
PLANS = [
    (side, tile, overlap, step)
    for side, tile, overlap, step in itertools.product(SIDES, (1, 12, 30, 40, 64), (0, 1, 7, 18, 33), (1, 3, 12))
    if tile - overlap >= step
]


def test_tiles_cover_the_axis_and_stay_inside():
    for side, tile, overlap, step in PLANS:
        spans = tile_spans(side, tile, overlap, step)
        assert spans[0][0] == 0
        assert spans[-1][1] == side
        for start, end in spans:
            assert start % step == 0
            assert 0 < end - start <= tile
        for (start, end), (following, following_end) in itertools.pairwise(spans):
            assert start < following
            assert end - following == overlap
            assert end <= following_end
        # No fewer tiles of this length suffice: each adds at most tile - overlap, in steps, to the overlap.
        reach = (tile - overlap) // step * step
        fewest = 1 if side <= tile else next(n for n in itertools.count(2) if overlap + n * reach >= side)
        assert len(spans) == fewest


def test_weights_sum_to_one():
    for plan in PLANS:
        spans = tile_spans(*plan)
        total = torch.zeros(plan[0], dtype=torch.float64)
        for (start, end), weight in zip(spans, blend_weights(spans)):
            assert weight.shape == (end - start,)
            assert (weight > 0).all()
            total[start:end] += weight
        torch.testing.assert_close(total, torch.ones_like(total), rtol=0, atol=1e-12)


def test_the_ramp_is_linear():
    first, second = blend_weights([(0, 8), (4, 12)])
    assert first.tolist() == [1, 1, 1, 1, 0.875, 0.625, 0.375, 0.125]
    assert second.tolist() == first.flip(0).tolist()


def test_tiles_are_of_about_one_length():
    lengths = [end - start for start, end in tile_spans(1920, 512, 32, 12)]
    assert len(lengths) == 4
    assert max(lengths) - min(lengths) <= 12


@pytest.mark.parametrize("size", [(37, 90), (20, 21), (64, 64), (1, 200)])
def test_blending_parts_of_a_picture_gives_it_back(size):
    picture = torch.rand(2, 3, *size)
    seen = []

    def run(region):
        seen.append(region)
        return picture[:, :, slice(*region[0]), slice(*region[1])]

    blended = run_in_tiles(run, size, tile=24, overlap=7, step=4)
    torch.testing.assert_close(blended, picture, rtol=0, atol=1e-6)
    assert len(seen) == len(tile_spans(size[0], 24, 7, 4)) * len(tile_spans(size[1], 24, 7, 4))


@pytest.mark.parametrize(
    ("plan", "sentence"),
    [
        ((100, 0, 0, 1), r"`tile` must be at least `tile_overlap` \+ 1 = 1 pixels, got 0\."),
        ((100, 32, 32, 1), r"`tile` must be at least `tile_overlap` \+ 1 = 33 pixels, got 32\."),
        (
            (100, 40, 32, 12),
            r"\+ 12 = 44 pixels, where tiles start at multiples of stride x largest scale = 12, got 40",
        ),
        ((100, 40, -1, 1), "`tile_overlap` must be at least 0, got -1"),
    ],
)
def test_tiles_that_cannot_be_laid_out_are_refused(plan, sentence):
    with pytest.raises(ValueError, match=sentence):
        tile_spans(*plan)
