"""Among descriptions of pictures: the nearest ones, and those that cover all."""

import numpy as np
from numpy.typing import NDArray

# Rows whose distances are held at a time: 100 MB for 100,000 pictures.
_ROWS = 256


def nearest_others(descriptions: NDArray[np.float32], count: int) -> NDArray[np.intp]:
    """Find for each description the nearest others, exactly.

    Args:
        descriptions: Shape (N, D), N at least 2.
        count: How many to find.

    Returns:
        Indices, shape (N, min(count, N - 1)), each row nearest first, never the row itself.
    """
    total = len(descriptions)
    count = min(count, total - 1)
    found = np.empty((total, count), np.intp)
    for start in range(0, total, _ROWS):
        rows = np.arange(start, min(start + _ROWS, total))
        distances = _distances(descriptions[rows], descriptions)
        distances[np.arange(len(rows)), rows] = np.inf
        near = np.argpartition(distances, count - 1, axis=1)[:, :count]
        order = np.argsort(np.take_along_axis(distances, near, axis=1), axis=1, kind="stable")
        found[rows] = np.take_along_axis(near, order, axis=1)
    return found


def choose_covering(descriptions: NDArray[np.float32], count: int) -> list[int]:
    """Choose descriptions so that all are near to a chosen one, on average: greedy k-median.

    Each next one is that which shortens the mean distance to the nearest chosen one most (Cornuejols, Fisher and
    Nemhauser, Management Science 1977). Greedy k-centre, which takes the farthest, fills a small choice with oddities.

    Args:
        descriptions: Shape (N, D), N at least 1.
        count: How many to choose.

    Returns:
        min(count, N) different indices, the same for every ``count`` as far as they go.
    """
    chosen: list[int] = []
    reached = np.full(len(descriptions), np.inf, np.float32)
    while len(chosen) < min(count, len(descriptions)):
        left = np.empty(len(descriptions))
        for start in range(0, len(descriptions), _ROWS):
            rows = slice(start, start + _ROWS)
            left[rows] = np.minimum(_distances(descriptions[rows], descriptions), reached).sum(axis=1)
        left[chosen] = np.inf  # Equal descriptions gain nothing more, and none is chosen twice.
        chosen.append(int(left.argmin()))
        reached = np.minimum(reached, _distances(descriptions[chosen[-1:]], descriptions)[0])
    return chosen


def _distances(some: NDArray[np.float32], others: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return Euclidean distances, shape (len(some), len(others))."""
    squares = np.square(some).sum(axis=1)[:, None] + np.square(others).sum(axis=1) - 2 * (some @ others.T)
    return np.sqrt(np.maximum(squares, 0))
