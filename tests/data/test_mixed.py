"""Data sets mixed by shares: how often, which draws, that they are independent of the parts' own, errors."""

import pickle

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader, Dataset

from msgnn_plugin.data import MixedDataset, PairedExemplarDataset, SampleNumberSampler, SyntheticRainDataset
from msgnn_plugin.data.crops import begin_sample, draw_turn, draw_window
from msgnn_plugin.data.mixed import SHARED_KEYS


class Drawn(Dataset):
    """Stands in for a data set: it draws as ours do, and gives the draws instead of pictures."""

    numbered_samples = True

    def __init__(self, name, count, seed=0):
        self.name, self.count, self.seed = name, count, seed

    def __len__(self):
        return self.count

    def __getitem__(self, item):
        index, generator = begin_sample(item, self.count, self.seed, "Drawn")
        rows, columns = draw_window((96, 96), 33, generator, "Drawn")
        turn = draw_turn(True, True, generator)
        values = {"lq": rows.start, "gt": columns.start, "exemplar": sum(bit << n for n, bit in enumerate(turn))}
        return values | {"lq_path": self.name, "gt_path": index, "exemplar_path": int(generator.integers(8)), "more": 1}


class Naive(MixedDataset):
    """The same draws from the very stream that the parts restart, or from one that numpy fills up to it."""

    more = ()

    def draw(self, number):
        generator = np.random.default_rng(np.random.SeedSequence((self.seed, number, *self.more)))
        name = list(self.parts)[generator.choice(len(self.parts), p=self.shares)]
        return name, int(generator.integers(len(self.parts[name])))


class Padded(Naive):
    more = (0,)


def drawn_parts(seed=3, **shares):
    return {name: (Drawn(name, 64, seed), share) for name, share in (shares or {"a": 1, "b": 1}).items()}


def dependence(one, other, bins=8):
    """Return chi-square of a table of two variables, in standard deviations above what independence gives."""
    ranks = [np.searchsorted(np.quantile(v, np.arange(1, bins) / bins), v, side="right") for v in (one, other)]
    table = np.zeros((bins, bins))
    np.add.at(table, tuple(ranks), 1)
    table = table[table.sum(1) > 0][:, table.sum(0) > 0]
    expected = table.sum(1, keepdims=True) * table.sum(0) / table.sum()
    freedom = (table.shape[0] - 1) * (table.shape[1] - 1)
    return (((table - expected) ** 2 / expected).sum() - freedom) / (2 * freedom) ** 0.5


def dependences(dataset, count=3000):
    """Return the strongest dependence of part and of place on what is drawn inside the part."""
    samples = [dataset[0, number] for number in range(count)]
    columns = {key: np.array([sample[key] for sample in samples]) for key in SHARED_KEYS}
    part = (columns["lq_path"] == "a").astype(int)
    inside = [columns[key] for key in ("lq", "gt", "exemplar", "exemplar_path")]
    return [max(dependence(outer, inner) for inner in inside) for outer in (part, columns["gt_path"])]


def test_part_and_place_are_independent_of_what_is_drawn_inside():
    assert max(dependences(MixedDataset(drawn_parts(), seed=3))) < 4


@pytest.mark.parametrize("form", [Naive, Padded])
def test_the_test_above_can_fail(form):
    assert min(dependences(form(drawn_parts(), seed=3))) > 100


def test_shares_hold():
    dataset = MixedDataset(drawn_parts(a=2, b=0.5, c=1.5), seed=1)
    count = 8000
    names, places = zip(*(dataset.draw(number) for number in range(count)), strict=True)
    for name, share in (("a", 0.5), ("b", 0.125), ("c", 0.375)):
        assert abs(names.count(name) - share * count) < 4 * (count * share * (1 - share)) ** 0.5
    # Every place of a part is as likely.
    times = np.bincount(places, minlength=64)
    assert ((times - count / 64) ** 2 / (count / 64)).sum() < 63 + 4 * (2 * 63) ** 0.5


@pytest.mark.parametrize("scale", [1e-3, 3, 1.6e308])
def test_shares_are_proportions(scale):
    one = MixedDataset(drawn_parts(a=0.5, b=1), seed=1)
    other = MixedDataset(drawn_parts(a=0.5 * scale, b=scale), seed=1)
    assert [one.draw(number) for number in range(200)] == [other.draw(number) for number in range(200)]


def test_a_sample_is_a_function_of_seed_and_number():
    dataset = MixedDataset(drawn_parts(a=2, b=1), seed=3)
    samples = [dataset[number % 7, number] for number in range(100)]
    # Neither what was asked before, nor the index, nor the order of the parts in the file.
    turned = MixedDataset(dict(reversed(drawn_parts(a=2, b=1).items())), seed=3)
    assert [turned[0, number] for number in reversed(range(100))][::-1] == samples
    assert pickle.loads(pickle.dumps(dataset))[5, 40] == samples[40]
    assert dataset[9] == dataset[9 - len(dataset)] == samples[9]
    assert [MixedDataset(drawn_parts(a=2, b=1), seed=4).draw(n) for n in range(50)] != [
        dataset.draw(n) for n in range(50)
    ]
    assert set(samples[0]) == set(SHARED_KEYS)
    assert len(dataset) == 128


def test_one_part_alone_is_allowed():
    dataset = MixedDataset({"only": (Drawn("only", 3), 0.1)})
    assert {dataset[0, number]["gt_path"] for number in range(40)} == {0, 1, 2}


@pytest.fixture
def real(tmp_path, pair_folder, write):
    for number in range(3):
        write(tmp_path / "clean" / f"{number}.png", size=(26, 30))
    settings = {"crop_size": 16, "flip": True, "rotate": True, "seed": 2}
    return {
        "pairs": (PairedExemplarDataset(root=pair_folder, **settings), 1),
        "made": (SyntheticRainDataset(root=tmp_path / "clean", preset="rain200h", **settings), 1),
    }


def same(one, other):
    return all(torch.equal(one[key], other[key]) for key in SHARED_KEYS[:3]) and all(
        one[key] == other[key] for key in SHARED_KEYS[3:]
    )


def test_samples_are_those_of_the_parts(real):
    dataset = MixedDataset(real, seed=2)
    assert len(dataset) == 8
    seen = set()
    for number in range(12):
        name, place = dataset.draw(number)
        assert same(dataset[0, number], real[name][0][place, number])
        seen.add(name)
    assert seen == {"pairs", "made"}


def test_batches_are_the_same_with_workers(real):
    dataset = MixedDataset(real, seed=2)
    sampler = SampleNumberSampler(len(dataset), batch_size=4, enlarge=2)
    runs = [list(DataLoader(dataset, batch_size=4, sampler=sampler, num_workers=workers)) for workers in (0, 2)]
    assert len(runs[0]) == 4
    assert all(same(one, other) for one, other in zip(*runs, strict=True))


@pytest.mark.parametrize("share", [0, -1, float("inf"), float("nan")])
def test_refuses_shares(share):
    with pytest.raises(ValueError, match=f"the share of part `b` must be above 0 and finite, got {share}. Leave out"):
        MixedDataset(drawn_parts(a=1, b=share))


def test_refusals():
    with pytest.raises(ValueError, match="MixedDataset: `parts` must hold at least one data set, got none"):
        MixedDataset({})
    with pytest.raises(ValueError, match="part `a` must hold at least one sample, got none"):
        MixedDataset({"a": (Drawn("a", 0), 1)})
    with pytest.raises(ValueError, match="`seed` must be at least 0, got -1"):
        MixedDataset(drawn_parts(), seed=-1)
    with pytest.raises(TypeError, match=r"part `in` must be .* not mixed itself, got MixedDataset"):
        MixedDataset({"in": (MixedDataset(drawn_parts()), 1)})
    with pytest.raises(TypeError, match=r"part `x` must be a data set that takes \(index, sample number\) .* got list"):
        MixedDataset({"x": ([1, 2], 1)})
    with pytest.raises(IndexError, match=r"MixedDataset: index must be in \[-128, 128\), got 128"):
        MixedDataset(drawn_parts())[128, 0]
