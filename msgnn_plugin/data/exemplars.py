"""Which rainy picture stands beside another one as its exemplar."""

import numpy as np
from numpy.typing import NDArray

from msgnn_plugin.data.retrieval import nearest_others

POLICIES = ("random", "fixed", "self", "retrieved")


class ExemplarSampler:
    """Picks the exemplar of a picture from its own data set.

    "random" (the paper) picks any other picture, never the picture itself; "fixed" always picks the next one; "self"
    picks the picture itself; "retrieved" picks one of the ``nearest`` others whose rain is described most alike.

    Args:
        policy: One of "random", "fixed", "self", "retrieved".
        count: Pictures in the data set.
        nearest: Among how many "retrieved" draws, at least 1.
        descriptions: What "retrieved" compares, shape (count, D), for instance from ``describe_rain``.

    Raises:
        ValueError: If the policy is unknown, needs a second picture where there is one, or lacks its descriptions.
    """

    def __init__(
        self,
        policy: str = "random",
        *,
        count: int,
        nearest: int = 5,
        descriptions: NDArray[np.float32] | None = None,
    ) -> None:
        if policy not in POLICIES:
            raise ValueError(f"ExemplarSampler: `exemplar` must be one of {', '.join(POLICIES)}, got {policy!r}.")
        if count < (1 if policy == "self" else 2):
            raise ValueError(
                f"ExemplarSampler: `exemplar` must be 'self' or a path be given for a set of {count}, got {policy!r}."
            )
        if nearest < 1:
            raise ValueError(f"ExemplarSampler: `exemplar_nearest` must be at least 1, got {nearest}.")
        if policy == "retrieved" and (descriptions is None or len(descriptions) != count):
            given = "none" if descriptions is None else f"{len(descriptions)}"
            raise ValueError(f"ExemplarSampler: `descriptions` must be {count} for 'retrieved', got {given}.")
        self.policy = policy
        self.count = count
        self.neighbors = nearest_others(descriptions, nearest) if policy == "retrieved" else None

    def __call__(self, index: int, generator: np.random.Generator) -> int:
        """Return the exemplar's index.

        Args:
            index: Index of the picture, in [0, count).
            generator: Source of the draw; used by "random" and "retrieved".
        """
        if self.policy == "self":
            return index
        if self.policy == "fixed":
            return (index + 1) % self.count
        if self.neighbors is not None:
            return int(self.neighbors[index, generator.integers(self.neighbors.shape[1])])
        # One of the others: shift what lies at or after the picture itself by one.
        other = int(generator.integers(self.count - 1))
        return other + (other >= index)
