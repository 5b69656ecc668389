"""Where half precision would lose the answer."""

from torch import Tensor, float64


def at_least_float32(image: Tensor) -> Tensor:
    """Return the tensor in float32, or as it is if it is float64."""
    return image if image.dtype == float64 else image.float()
