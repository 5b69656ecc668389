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
    # |a - b|^2 less |a|^2, which is the same for a whole row.
    norms = np.einsum("nd,nd->n", descriptions, descriptions)
    found = np.empty((total, count), np.intp)
    for start in range(0, total, _ROWS):
        rows = np.arange(start, min(start + _ROWS, total))
        distances = norms - 2 * (descriptions[rows] @ descriptions.T)
        distances[np.arange(len(rows)), rows] = np.inf
        near = np.argpartition(distances, count - 1, axis=1)[:, :count]
        order = np.argsort(np.take_along_axis(distances, near, axis=1), axis=1, kind="stable")
        found[rows] = np.take_along_axis(near, order, axis=1)
    return found


def choose_covering(descriptions: NDArray[np.float32], count: int) -> list[int]:
    """Choose descriptions so that none is far from a chosen one (Gonzalez, 1985: greedy k-centre).

    The first is the one nearest to the mean; each next one is the farthest from all chosen before.

    Args:
        descriptions: Shape (N, D), N at least 1.
        count: How many to choose.

    Returns:
        min(count, N) different indices.
    """
    chosen = [int(np.square(descriptions - descriptions.mean(axis=0)).sum(axis=1).argmin())]
    distance = np.full(len(descriptions), np.inf)
    while len(chosen) < min(count, len(descriptions)):
        last = descriptions[chosen[-1]]
        distance = np.minimum(distance, np.square(descriptions - last).sum(axis=1))
        distance[chosen] = -1  # Equal descriptions are all at 0; none is chosen twice.
        chosen.append(int(distance.argmax()))
    return chosen
