import itertools

import numpy as np
import pytest

pytest.importorskip("faiss", reason="needs faiss, of the extra [distill]")
pytest.importorskip("skimage", reason="needs scikit-image, of the extra [distill]")
from benchmarks.planted import FAULTS
from msgnn_plugin.curation.describe import MeasuredDescriber
from msgnn_plugin.curation.judge import Case, make_judges
from msgnn_plugin.curation.measures import measure_pair
from msgnn_plugin.curation.retrieve import Reference
from msgnn_plugin.curation.settings import DistillSettings
from msgnn_plugin.curation.vote import decide

# What the decision's reason begins with; a repeated pair is whole in itself.
REASONS = {
    "shift": "misaligned",
    "swap": "swapped",
    "blur": "blurred",
    "compress": "compressed",
    "mispair": "wrong partner",
    "dry": ("no rain", "noise"),
    "noise": "noise",
    "repeat": "",
}


def judge(rainy, clean, references=(), spacing=0.0, night=None):
    case = Case(rainy, clean, MeasuredDescriber()([rainy])[0], list(references), spacing, night)
    return decide([one(case) for one in make_judges(DistillSettings().judges, {})])


def test_made_pairs_are_kept(made_pairs):
    decisions = [judge(*sides) for _, sides in made_pairs(12)]
    assert all(decision.kept for decision in decisions), decisions


@pytest.mark.parametrize("fault", FAULTS)
def test_a_planted_fault_is_found_and_named(made_pairs, fault):
    rng = np.random.default_rng(3)
    pairs = [sides for _, sides in made_pairs(4, presets=("rain200l", "rain1400", "drs"))]
    for (rainy, clean), other in itertools.pairwise(pairs):
        decision = judge(*map(np.ascontiguousarray, FAULTS[fault](rainy, clean, other, rng)))
        assert decision.kept == (fault == "repeat")
        assert decision.reason.startswith(REASONS[fault]), decision


@pytest.mark.parametrize("across", [-3, -2, 0, 2, 3])
@pytest.mark.parametrize("down", [-2, 0, 3])
def test_the_shift_is_measured(made_pairs, across, down):
    ((_, (rainy, clean)),) = made_pairs(1, presets=("rain1400",))
    moved = rainy[8 + down : 248 + down, 8 + across : 248 + across]
    assert measure_pair(moved, clean[8:248, 8:248]).shift == pytest.approx(np.hypot(across, down))


def test_unlike_the_references_and_light_of_the_wrong_hour(made_pairs):
    ((_, (rainy, clean)),) = made_pairs(1, presets=("rain200l",))
    far, near = Reference("far", 3.0, 0.1), Reference("near", 0.3, 0.1)
    assert judge(rainy, clean, [far], 0.2).reason.startswith("unlike real rain")
    assert judge(rainy, clean, [far, near], 0.2).kept
    bright = np.maximum(rainy, 140)
    assert judge(bright, np.maximum(clean, 140), night=True).reason.startswith("day for night")
    ((_, (heavy, under)),) = made_pairs(1, presets=("rain200h",))
    assert judge(heavy // 10, under // 10, night=False).reason.startswith("night for day")
    assert judge(rainy, clean // 8).reason.startswith("day and night")


def test_small_and_odd_sizes():
    picture = np.random.default_rng(0).integers(0, 255, (16, 17, 3), dtype=np.uint8)
    assert judge(picture, picture).reason.startswith("no rain")
    with pytest.raises(ValueError, match="at least 16 pixels a side"):
        measure_pair(picture[:15], picture[:15])
    with pytest.raises(ValueError, match="equal in shape"):
        measure_pair(picture, picture[:, :16])


@pytest.mark.parametrize(
    ("judges", "limits", "told"),
    [
        ([{"kind": "measured", "window": 3}], {}, "`judges.window` must be 0, 1 or 2, got 3"),
        ([{"kind": "measured"}], {}, "`judges` must hold what the kind measured takes"),
        ([{"kind": "guess"}], {}, "`judges.kind` must be measured or chat, got 'guess'"),
        ([{"kind": "measured", "window": 0}], {"shfit": 1.0}, "`limits` must be out of .*got shfit"),
    ],
)
def test_bad_judges(judges, limits, told):
    with pytest.raises(ValueError, match=told):
        make_judges(judges, limits)
