"""The order of samples is the same for every split over ranks and every interruption."""

import pytest

from msgnn_plugin.data import SampleNumberSampler


def _epochs(count, epochs, **keywords):
    sampler = SampleNumberSampler(count, **keywords)
    result = []
    for epoch in range(epochs):
        sampler.set_epoch(epoch)
        samples = list(sampler)
        assert len(samples) == len(sampler)
        result.append(samples)
    return result


@pytest.mark.parametrize(("enlarge", "batches"), [(1, 3), (2, 5), (2.5, 6), (0.2, 1)])
def test_batches_are_full(enlarge, batches):
    (samples,) = _epochs(19, 1, batch_size=8, enlarge=enlarge)
    assert len(samples) == batches * 8
    indices = [index for index, _ in samples]
    assert all(sorted(indices[start : start + 19]) == list(range(19)) for start in range(0, len(indices) - 18, 19))
    assert set(indices) <= set(range(19))


def test_sample_numbers_count_on_through_epochs():
    numbers = [number for epoch in _epochs(19, 3, batch_size=8) for _, number in epoch]
    assert numbers == list(range(72))


def test_order_is_drawn_from_seed_and_epoch():
    first, second = _epochs(19, 2, batch_size=8)
    assert [index for index, _ in first] != [index for index, _ in second]
    assert [first, second] == _epochs(19, 2, batch_size=8)
    assert [first, second] != _epochs(19, 2, batch_size=8, seed=1)


@pytest.mark.parametrize("world_size", [2, 4])
def test_ranks_split_the_same_global_batches(world_size):
    whole = _epochs(19, 2, batch_size=8)
    parts = [_epochs(19, 2, batch_size=8 // world_size, world_size=world_size, rank=r) for r in range(world_size)]
    for epoch in range(2):
        interleaved = [sample for group in zip(*(part[epoch] for part in parts), strict=True) for sample in group]
        assert interleaved == whole[epoch]


@pytest.mark.parametrize("start", [0, 1, 3, 4, 8, 9, 12])
@pytest.mark.parametrize("rank", [0, 1])
def test_resuming_yields_exactly_the_rest(start, rank):
    keywords = {"batch_size": 4, "world_size": 2, "rank": rank}
    whole = [sample for epoch in _epochs(19, 4, **keywords) for sample in epoch]
    rest = [sample for epoch in _epochs(19, 4, start_iteration=start, **keywords) for sample in epoch]
    assert rest == whole[start * 4 :]


@pytest.mark.parametrize(
    ("keywords", "sentence"),
    [
        ({"count": 0}, "`count` must be at least 1, got 0"),
        ({"batch_size": 0}, "`batch_size` must be at least 1, got 0"),
        ({"rank": 2, "world_size": 2}, "`rank` must be below world_size = 2, got 2"),
        ({"enlarge": 0}, "`enlarge` must be above 0, got 0"),
        ({"seed": -1}, "`seed` must be at least 0, got -1"),
    ],
)
def test_refuses(keywords, sentence):
    with pytest.raises(ValueError, match=sentence):
        SampleNumberSampler(**{"count": 5, "batch_size": 2, **keywords})
