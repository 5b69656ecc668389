"""What the contrastive losses take: one tensor of embeddings, or a list of them, one a feature map."""

from collections.abc import Sequence

from torch import Tensor

from msgnn_plugin.ops.precision import at_least_float32

Embeddings = Tensor | Sequence[Tensor]


def as_maps(loss: str, name: str, given: Embeddings) -> list[Tensor]:
    """Return ``given`` as a list of (B, N, D) tensors of at least float32.

    Args:
        loss: Name of the loss, for the error.
        name: Name of the argument, for the error.
        given: (B, N, D) or (N, D), or a list of such tensors.

    Raises:
        ValueError: If there is no map, or one is not of these shapes or empty.
        TypeError: If one is not a floating-point tensor.
    """
    maps = [given] if isinstance(given, Tensor) else list(given)
    if not maps:
        raise ValueError(f"{loss}: `{name}` must hold at least 1 feature map, got none.")
    for embedding in maps:
        if not isinstance(embedding, Tensor) or not embedding.is_floating_point():
            kind = embedding.dtype if isinstance(embedding, Tensor) else type(embedding).__name__
            raise TypeError(f"{loss}: `{name}` must be floating-point tensors, got {kind}.")
        if embedding.dim() not in (2, 3) or min(embedding.shape) < 1:
            raise ValueError(
                f"{loss}: `{name}` must have shape (B, N, D) or (N, D) with no empty axis, "
                f"got {tuple(embedding.shape)}."
            )
    return [at_least_float32(embedding if embedding.dim() == 3 else embedding[None]) for embedding in maps]


def check_count(loss: str, name: str, maps: list[Tensor], others: list[Tensor], other_name: str) -> None:
    """Raise unless ``maps`` has as many maps as ``others``."""
    if len(maps) != len(others):
        raise ValueError(
            f"{loss}: `{name}` must hold as many feature maps as `{other_name}`, {len(others)}, got {len(maps)}."
        )


def check_temperature(loss: str, name: str, temperature: float) -> None:
    """Raise unless ``temperature`` is above 0."""
    if not temperature > 0:
        raise ValueError(f"{loss}: `{name}` must be above 0, got {temperature}.")


def check_patches(loss: str, name: str, count: int) -> None:
    """Raise unless ``count`` is at least 1."""
    if count < 1:
        raise ValueError(f"{loss}: `{name}` must be at least 1, got {count}.")
