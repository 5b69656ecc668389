"""Which rainy picture stands beside another one as its exemplar."""

import numpy as np

POLICIES = ("random", "fixed", "self")


class ExemplarSampler:
    """Picks the exemplar of a picture from its own data set.

    "random" (the paper) picks any other picture, never the picture itself; "fixed" always picks the next one; "self"
    picks the picture itself.

    Args:
        policy: One of "random", "fixed", "self".
        count: Pictures in the data set.

    Raises:
        ValueError: If the policy is unknown, or needs a second picture where there is one.
    """

    def __init__(self, policy: str = "random", *, count: int) -> None:
        if policy not in POLICIES:
            raise ValueError(f"ExemplarSampler: `exemplar` must be one of {', '.join(POLICIES)}, got {policy!r}.")
        if count < (1 if policy == "self" else 2):
            raise ValueError(
                f"ExemplarSampler: `exemplar` must be 'self' or a path be given for a set of {count}, got {policy!r}."
            )
        self.policy = policy
        self.count = count

    def __call__(self, index: int, generator: np.random.Generator) -> int:
        """Return the exemplar's index.

        Args:
            index: Index of the picture, in [0, count).
            generator: Source of the draw; used by "random" alone.
        """
        if self.policy == "self":
            return index
        if self.policy == "fixed":
            return (index + 1) % self.count
        # One of the others: shift what lies at or after the picture itself by one.
        other = int(generator.integers(self.count - 1))
        return other + (other >= index)
