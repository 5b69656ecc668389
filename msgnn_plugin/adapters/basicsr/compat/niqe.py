"""BasicSR's NIQE ends in an error about matrices or empty arrays where a picture is too small or too flat for it."""

import importlib
import warnings
from typing import Any

import numpy as np
from numpy.typing import NDArray

MENDS = "NIQE of pictures too small or too flat to have one"
# A covariance takes two blocks.
MIN_BLOCKS = 2


def needed() -> bool:
    """Whether a picture smaller than a block is an error."""
    try:
        importlib.import_module("basicsr.metrics.niqe").niqe(
            np.zeros((8, 8)), np.zeros(36), np.eye(36), np.ones((7, 7))
        )
    except (ValueError, RuntimeError, ArithmeticError):
        return True
    return False


def apply() -> None:
    """Replace the function that the registered metric calls."""
    module = importlib.import_module("basicsr.metrics.niqe")
    published = module.niqe

    def niqe(img: NDArray, *params: Any, block_size_h: int = 96, block_size_w: int = 96) -> float:
        """Return NIQE, or nan for a picture with fewer than two blocks of 96 x 96 that have any contrast."""
        # The caller drops sides of one pixel.
        if img.ndim < 2 or (img.shape[0] // block_size_h) * (img.shape[1] // block_size_w) < MIN_BLOCKS:
            return float("nan")
        try:
            with warnings.catch_warnings(), np.errstate(all="ignore"):
                warnings.simplefilter("ignore", RuntimeWarning)  # of blocks without contrast, which are left out
                return published(img, *params, block_size_h, block_size_w)
        except np.linalg.LinAlgError:
            return float("nan")

    module.niqe = niqe
