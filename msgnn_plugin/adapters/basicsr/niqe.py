"""BasicSR's NIQE of one picture; its parameters come with BasicSR, so nothing is fetched."""

import numpy as np
from numpy.typing import NDArray

from msgnn_plugin.adapters.basicsr import compat

ABOUT = "BasicSR's function and parameters, on rounded Y, blocks of 96 x 96 without overlap; lower is better"


def measure_niqe(picture: NDArray[np.uint8]) -> float:
    """Return NIQE (Mittal et al., 2013) of an RGB picture; lower is better, nan where it is too small or too flat.

    Args:
        picture: (H, W, 3), uint8.

    Raises:
        ImportError: If BasicSR or something it imports is missing.
    """
    compat.apply()
    from basicsr.metrics import calculate_niqe

    return float(calculate_niqe(np.ascontiguousarray(picture[..., ::-1]), crop_border=0, convert_to="y"))
