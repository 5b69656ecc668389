"""Forms of a picture, uint8 or float, grey or RGB, and the sum of a scene and its rain."""

import numpy as np
from numpy.typing import NDArray


def check_picture(where: str, clean: NDArray) -> None:
    """Refuse what is no picture.

    Args:
        where: Who asks, to begin the sentence with.
        clean: The picture.

    Raises:
        TypeError: If it is neither uint8 nor float.
        ValueError: If it has another shape than (H, W) or (H, W, 3), or no pixel.
    """
    if clean.dtype != np.uint8 and not np.issubdtype(clean.dtype, np.floating):
        raise TypeError(f"{where}: `clean` must be uint8 or float, got {clean.dtype}.")
    if clean.ndim not in (2, 3) or clean.size == 0 or (clean.ndim == 3 and clean.shape[2] != 3):
        raise ValueError(f"{where}: `clean` must have shape (H, W) or (H, W, 3), got {clean.shape}.")


def add_rain(
    clean: NDArray, layer: NDArray[np.float32], *, hiding: float = 0.0, noise: float = 0.0, rng: np.random.Generator
) -> tuple[NDArray, NDArray]:
    """Add a layer of rain: O = clip(B + R), with R = layer (1 - hiding B), never negative.

    While a drop passes, it hides the scene behind it, so a streak is the fainter the brighter that is: its change of
    intensity falls linearly with the background's (Garg and Nayar, "Vision and Rain", IJCV 2007). ``hiding`` 0 is the
    plain sum, 1 the picture editor's "screen".

    Args:
        clean: Picture B, (H, W) or (H, W, 3), uint8, or float in [0, 1].
        layer: Brightness of the rain over black, (H, W), as a share of white, at least 0.
        hiding: How far the drops hide the scene, in [0, 1].
        noise: Standard deviation of the camera's noise, as a share of white; added to O, not to R.
        rng: Source of the noise.

    Returns:
        O and R in the form of ``clean``. Without noise O is clip(B + R) to the last bit.
    """
    white = 255 if clean.dtype == np.uint8 else 1
    rain = layer * white
    if clean.ndim == 3:
        rain = np.broadcast_to(rain[..., None], clean.shape)
    if hiding > 0:
        rain = rain * (1 - np.float32(hiding / white) * clean.astype(np.float32))
    if clean.dtype == np.uint8:
        # Whole steps, so that the rainy picture is the sum to the last bit; more than white cannot show.
        rain = np.minimum(np.rint(rain), 255)
    rainy = clean + rain.astype(np.float32)
    if noise > 0:
        rainy = rainy + rng.standard_normal(clean.shape, dtype=np.float32) * (noise * white)
    if clean.dtype == np.uint8:
        rainy = np.rint(rainy)
    return np.clip(rainy, 0, white).astype(clean.dtype), rain.astype(clean.dtype)


def as_rgb(picture: NDArray) -> NDArray[np.float32]:
    """Return a picture as (H, W, 3), float32 in [0, 1]; grey holds its value three times."""
    white = 255 if picture.dtype == np.uint8 else 1
    colour = picture if picture.ndim == 3 else np.broadcast_to(picture[..., None], (*picture.shape, 3))
    return colour.astype(np.float32) / np.float32(white)


def as_form_of(like: NDArray, rgb: NDArray[np.float32]) -> NDArray:
    """Return an RGB picture, (H, W, 3) as a share of white, clipped and in the form of another: grey is the mean."""
    values = np.clip(rgb, 0, 1) if like.ndim == 3 else np.clip(rgb, 0, 1).mean(axis=2)
    return (np.rint(values * 255) if like.dtype == np.uint8 else values).astype(like.dtype)
