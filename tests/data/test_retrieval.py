import numpy as np
import pytest

from msgnn_plugin.data.retrieval import choose_covering, nearest_others


@pytest.mark.parametrize("total", [2, 7, 600])
def test_nearest_others_are_those_of_a_plain_loop(total):
    points = np.random.default_rng(total).normal(size=(total, 3)).astype(np.float32)
    found = nearest_others(points, 4)
    assert found.shape == (total, min(4, total - 1))
    for row in range(0, total, 13):
        distance = np.linalg.norm(points.astype(float) - points[row], axis=1)
        distance[row] = np.inf
        np.testing.assert_array_equal(found[row], np.argsort(distance)[: found.shape[1]])


def test_of_equal_ones_the_row_itself_is_never_found():
    found = nearest_others(np.ones((300, 2), np.float32), 5)
    assert not (found == np.arange(300)[:, None]).any()
    assert all(len(set(row)) == 5 for row in found)


def test_covering_takes_one_of_every_heap():
    rng = np.random.default_rng(0)
    centres = np.array([[0, 0], [10, 0], [0, 10], [10, 10], [30, 30]])
    heap = rng.permutation(np.repeat(np.arange(5), 20))
    points = (centres[heap] + rng.normal(0, 0.3, (100, 2))).astype(np.float32)
    assert set(heap[choose_covering(points, 5)]) == set(range(5))
    assert choose_covering(points, 5) == choose_covering(points, 7)[:5]


def test_covering_passes_over_a_single_oddity():
    rng = np.random.default_rng(0)
    points = np.concatenate([rng.normal(0, 1, (50, 2)), rng.normal(8, 1, (50, 2)), [[60, 60]]]).astype(np.float32)
    first, second = choose_covering(points, 2)
    assert (first < 50) != (second < 50)
    assert 100 not in (first, second)


def test_covering_lowers_the_mean_distance_as_a_plain_loop_does():
    points = np.random.default_rng(1).normal(size=(300, 3)).astype(np.float32)
    between = np.linalg.norm(points[:, None].astype(float) - points, axis=2)
    chosen = []
    for _ in range(4):
        means = [between[[*chosen, candidate]].min(axis=0).mean() for candidate in range(300)]
        chosen.append(int(np.argmin(means)))
    assert choose_covering(points, 4) == chosen


def test_covering_never_takes_one_twice():
    assert sorted(choose_covering(np.zeros((4, 2), np.float32), 9)) == [0, 1, 2, 3]
    assert choose_covering(np.zeros((1, 2), np.float32), 3) == [0]
