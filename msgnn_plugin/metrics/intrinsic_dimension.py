"""In how many directions patches vary: the maximum-likelihood estimate of Levina and Bickel (NIPS 2004)."""

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from torch import Tensor

# As many neighbours as scikit-dimension takes: fewer raise the variance, more bend with the manifold.
NUM_NEIGHBORS = 20


def intrinsic_dimension(patches: np.ndarray, *, num_neighbors: int = NUM_NEIGHBORS) -> float:
    """Estimate the dimension of the manifold that points lie on, from how fast their neighbourhoods fill.

    Levina and Bickel's estimate with MacKay and Ghahramani's mean: the inverse of the mean, over all points and their
    neighbours j < k, of ``log(T_k / T_j)``, T being distances to the nearest neighbours. It does not depend on the
    points' scale, and reads low where the dimension is above about 10. Of equal points one is kept.

    Args:
        patches: Points, (N, D), finite; a few hundred or more for a steady estimate.
        num_neighbors: k, from 2 up; cut to the number of distinct points less one.

    Returns:
        The dimension, in [0, D]; 0 where there are fewer than three distinct points.

    Raises:
        ValueError: If ``patches`` is not a (N, D) array of finite numbers or ``num_neighbors`` is below 2.
        ImportError: If scipy is absent.
    """
    points = np.asarray(patches, dtype=np.float64)
    if points.ndim != 2 or 0 in points.shape:
        raise ValueError(
            f"intrinsic_dimension: `patches` must have shape (N, D) with no empty axis, got {points.shape}."
        )
    if not np.isfinite(points).all():
        raise ValueError(
            f"intrinsic_dimension: `patches` must be finite, got {np.count_nonzero(~np.isfinite(points))} values "
            "that are not."
        )
    if num_neighbors < 2:
        raise ValueError(f"intrinsic_dimension: `num_neighbors` must be at least 2, got {num_neighbors}.")
    try:
        from scipy.spatial import KDTree
    except ImportError:
        raise ImportError("intrinsic_dimension: scipy must be installed, got none; pip install scipy.") from None
    points = np.unique(points, axis=0)
    count = min(num_neighbors, len(points) - 1)
    if count < 2:
        return 0.0
    # The first neighbour is the point itself.
    distance = KDTree(points).query(points, k=count + 1)[0][:, 1:]
    # Distances below what float64 can square come out as 0.
    log_distance = np.log(np.maximum(distance, np.finfo(np.float64).tiny))
    spread = (log_distance[:, -1:] - log_distance[:, :-1]).mean()
    most = points.shape[1]
    return float(1 / spread) if spread * most > 1 else float(most)


def layer_dimensions(
    background: "Tensor", rain: "Tensor", *, patch_size: int = 8, num_patches: int = 1024, seed: int = 0
) -> tuple[float, float]:
    """Estimate the intrinsic dimension of the patches of both layers of pictures.

    Patches are grey, the mean of the channels: rain is the same in all of them, so nothing of it is lost, and both
    layers are measured in one space of ``patch_size**2`` values instead of three times as many that hold little more.
    Both layers are cut at the same places, drawn anew from ``seed`` at each call.

    Args:
        background: Background layers, (B, C, H, W), any range.
        rain: Rain layers, same shape.
        patch_size: Side of a patch in pixels.
        num_patches: How many patches to draw over all pictures.
        seed: Seed of the places.

    Returns:
        Dimensions of background and rain, each in [0, patch_size**2]; 0 for a flat layer.

    Raises:
        ValueError: If shapes differ, pictures are smaller than a patch, a value is not finite, or a number is below 1.
        ImportError: If scipy is absent.
    """
    if background.dim() != 4 or background.shape != rain.shape or min(background.shape) < 1:
        raise ValueError(
            "layer_dimensions: `background` and `rain` must have one shape (B, C, H, W) with no empty axis, "
            f"got {tuple(background.shape)} and {tuple(rain.shape)}."
        )
    for name, value in (("patch_size", patch_size), ("num_patches", num_patches)):
        if value < 1:
            raise ValueError(f"layer_dimensions: `{name}` must be at least 1, got {value}.")
    batch, _, height, width = background.shape
    if min(height, width) < patch_size:
        raise ValueError(
            f"layer_dimensions: pictures must be at least {patch_size}x{patch_size}, the size of a patch, "
            f"got {height}x{width}."
        )
    generator = np.random.default_rng(seed)
    limits = (batch, height - patch_size + 1, width - patch_size + 1)
    picture, row, column = (generator.integers(limit, size=num_patches) for limit in limits)
    dimensions = []
    for layer in (background, rain):
        grey = layer.detach().double().mean(1).cpu().numpy()
        windows = np.lib.stride_tricks.sliding_window_view(grey, (patch_size, patch_size), axis=(1, 2))
        dimensions.append(intrinsic_dimension(windows[picture, row, column].reshape(num_patches, -1)))
    return dimensions[0], dimensions[1]
