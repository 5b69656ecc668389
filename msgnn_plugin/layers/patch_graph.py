"""The graph of MSGNN: search similar patches, aggregate them by attention. Section 3.2 of the paper (IJCAI 2024)."""

import math
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from msgnn_plugin.layers.dense import leaky_relu
from msgnn_plugin.layers.map_stack import NEGATIVE_SLOPE
from msgnn_plugin.layers.resize import pad_to_side
from msgnn_plugin.layers.trained_pair import train_pair
from msgnn_plugin.ops import patch_aggregate, patch_difference, patch_knn
from msgnn_plugin.ops.fusion import fusion
from msgnn_plugin.ops.grid import grid_length, grid_padding
from msgnn_plugin.ops.patch_knn import window_side
from msgnn_plugin.ops.precision import at_least_float32
from msgnn_plugin.ops.trunk_checks import runs_fused, trains_fused

Variant = Literal["paper", "official"]
VARIANTS = ("paper", "official")


class GraphAggregator(nn.Module):
    """For each patch of the query image, find its k nearest patches in the database image and sum them by attention.

    "paper": one three-layer CNN embeds both images; the window is centred on the query's own place; the attention
    network reads the signed difference of Eq. (5) and gives one weight a patch and neighbour (Eq. 6); what is summed
    (Eq. 4) are the embeddings themselves unless features are given. "official": as the authors released it, where two
    separate CNNs embed the images and never learn, the window is off centre except at scale 2, and the attention
    network reads absolute differences summed a channel.

    Args:
        num_feat: Channels C of the embedding and of the result.
        patch_size: Side l of a patch in pixels.
        stride: Step s between patches in pixels; "official" accepts only ``stride == patch_size``.
        num_neighbors: Neighbours k of a patch.
        window_size: Side of the square search window in patches, or None to search everywhere.
        scale: How many times smaller the database image is made; only "official" reads it, for its window.
        variant: "paper" or "official".

    Raises:
        ValueError: If a setting is out of its range, with the limit.
    """

    def __init__(
        self,
        *,
        num_feat: int = 32,
        patch_size: int = 3,
        stride: int = 3,
        num_neighbors: int = 5,
        window_size: int | None = 30,
        scale: int = 1,
        variant: Variant = "paper",
    ) -> None:
        super().__init__()
        check_graph_settings(
            "GraphAggregator", num_feat, patch_size, stride, num_neighbors, window_size, variant, scale=scale
        )
        self.patch_size = patch_size
        self.stride = stride
        self.num_neighbors = num_neighbors
        self.window_size = window_size
        self.scale = scale
        self.variant = variant
        if variant == "paper":
            self.embed = Embedding(num_feat)
            self.difference = nn.Conv2d(num_feat, num_feat, patch_size, stride=stride)
            # No bias at the end: the softmax over neighbours cancels it.
            self.attention = nn.Sequential(
                nn.LeakyReLU(NEGATIVE_SLOPE),
                nn.Conv2d(num_feat, num_feat, 1),
                leaky_relu(),
                nn.Conv2d(num_feat, 1, 1, bias=False),
            )
        else:
            self.embed_database = Embedding(num_feat)
            self.embed_query = Embedding(num_feat)
            self.attention = OfficialAttention(num_feat)
            self.unused = nn.ModuleList(
                [*(nn.Conv2d(num_feat, num_feat, size) for size in (5, 3, 3)), OfficialAttention(num_feat)]
            )

    @property
    def minimum_side(self) -> int:
        """Smallest side in pixels of a database image whose square windows hold k patches."""
        side = 1
        while grid_length(side, self.patch_size, self.stride) < math.isqrt(self.num_neighbors - 1) + 1:
            side += 1
        return side

    def search(self, query_image: Tensor, database_image: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Return the neighbours' places and squared distances, as `patch_knn` does, without gradient.

        Shape: (B, 3, H, W), (B, 3, H', W') -> (B, M, K) int64, (B, M, K). Sides below `minimum_side` are padded first.
        """
        database_image = query_image if database_image is None else database_image
        self._check_images(query_image, database_image, None)
        with torch.no_grad():
            return self._search(*self._embed(*self._padded(query_image, database_image)))

    def neighbors(self, query_image: Tensor, database_image: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Return the neighbours' places and the weights by which `forward` sums them, without gradient.

        Shape: (B, 3, H, W), (B, 3, H', W') -> (B, M, K) int64, (B, M, K), weights summing to 1 over K. Sides below
        `minimum_side` are padded first.
        """
        database_image = query_image if database_image is None else database_image
        self._check_images(query_image, database_image, None)
        with torch.no_grad():
            return self._attend(*self._embed(*self._padded(query_image, database_image)))

    def forward(
        self, query_image: Tensor, database_image: Tensor | None = None, database_features: Tensor | None = None
    ) -> Tensor:
        """Aggregate neighbour patches at the query's places.

        Shape: (B, 3, H, W), (B, 3, H', W') -> (B, C, H, W). ``database_features`` (B, C, H', W') is what is summed
        instead of the embedding. None means the query image itself, and the embedding. Sides below `minimum_side` are
        padded, and the result cut back.

        Raises:
            ValueError: If a shape is wrong.
        """
        database_image = query_image if database_image is None else database_image
        self._check_images(query_image, database_image, database_features)
        height, width = query_image.shape[2:]
        query_image, database_image = self._padded(query_image, database_image)
        with torch.set_grad_enabled(torch.is_grad_enabled() and self.variant == "paper"):
            query, database = self._embed(query_image, database_image)
        values = database if database_features is None else pad_to_side(database_features, self.minimum_side)
        return self.aggregate(query, database, values)[:, :, :height, :width]

    def aggregate(
        self, query: Tensor, database: Tensor, values: Tensor, window: tuple[int | None, Tensor | None] | None = None
    ) -> Tensor:
        """Aggregate between maps that are embedded already.

        Shape: (B, C, H, W), (B, C, H', W'), (B, C, H', W') -> (B, C, H, W). ``values`` are what is summed; ``window``
        are the search's ``window_size`` and ``window_origin`` where the maps are parts of larger ones.
        """
        index, weight = self._attend(query, database, window)
        return patch_aggregate(
            values,
            index,
            weight.to(values.dtype),
            patch_size=self.patch_size,
            stride=self.stride,
            output_size=(query.shape[2], query.shape[3]),
        )

    def _attend(
        self, query: Tensor, database: Tensor, window: tuple[int | None, Tensor | None] | None = None
    ) -> tuple[Tensor, Tensor]:
        """Return the neighbours' places (B, M, K) and their weights, at least float32."""
        index, _ = self._search(query.detach(), database.detach(), window)
        if self.variant == "paper":
            logits = self._signed_attention(query, database, index)
        else:
            with torch.no_grad():
                difference = patch_difference(
                    query, database, index, patch_size=self.patch_size, stride=self.stride, reduce="abs_sum"
                )
            logits = self.attention(difference.flatten(0, 2)).view(index.shape)
        # Softmax over the neighbours is exp(CNN(D)) over its sum, Eq. (4) and (6).
        return index, at_least_float32(logits).softmax(dim=-1)

    def _check_images(self, query_image: Tensor, database_image: Tensor, features: Tensor | None) -> None:
        for name, image in (("query_image", query_image), ("database_image", database_image)):
            if image.dim() != 4 or image.shape[1] != 3 or min(image.shape) < 1 or len(image) != len(query_image):
                raise ValueError(
                    f"GraphAggregator: `{name}` must have shape (B, 3, H, W), B = {len(query_image)}, "
                    f"got {tuple(image.shape)}."
                )
        if features is not None and (
            features.dim() != 4
            or len(features) != len(database_image)
            or features.shape[2:] != database_image.shape[2:]
        ):
            raise ValueError(
                f"GraphAggregator: `database_features` must have the batch and size of `database_image`, "
                f"{tuple(database_image.shape)}, got {tuple(features.shape)}."
            )

    def _padded(self, query_image: Tensor, database_image: Tensor) -> tuple[Tensor, Tensor]:
        query = pad_to_side(query_image, self.minimum_side)
        return query, query if database_image is query_image else pad_to_side(database_image, self.minimum_side)

    def _embed(self, query_image: Tensor, database_image: Tensor) -> tuple[Tensor, Tensor]:
        if self.variant == "official":
            return self.embed_query(query_image), self.embed_database(database_image)
        query = self.embed(query_image)
        return query, query if database_image is query_image else self.embed(database_image)

    def _search(
        self, query: Tensor, database: Tensor, window: tuple[int | None, Tensor | None] | None = None
    ) -> tuple[Tensor, Tensor]:
        if window is None:
            grids = [
                [grid_length(size, self.patch_size, self.stride) for size in x.shape[2:]] for x in (query, database)
            ]
            official = self.variant == "official" and self.window_size is not None
            # None centres the window on the query's own place.
            origin = official_window_origin(*grids, self.window_size, self.scale, query.device) if official else None
            window = self.window_size, origin
        return patch_knn(
            query,
            database,
            patch_size=self.patch_size,
            stride=self.stride,
            num_neighbors=self.num_neighbors,
            window_size=window[0],
            window_origin=window[1],
        )

    def _signed_attention(self, query: Tensor, database: Tensor, index: Tensor) -> Tensor:
        """Apply the attention network to signed differences, its first, linear layer before subtracting."""
        projections = []
        for x in (query,) if database is query else (query, database):
            rows, columns = (grid_padding(size, self.patch_size, self.stride) for size in x.shape[2:])
            projections.append(F.conv2d(F.pad(x, (*columns, *rows)), self.difference.weight, stride=self.stride))
        # The bias goes to the one query instead of its k differences.
        asking = projections[0] + self.difference.bias.to(query.dtype)[:, None, None]
        difference = patch_difference(asking, projections[-1], index, patch_size=1, stride=1)
        # As rows: activating a view in place would make autograd copy it.
        first, middle, second, last = self.attention
        logits = pointwise(last, second(pointwise(middle, first(difference.flatten(0, 2)))))
        return logits.view(index.shape)


class OfficialAttention(nn.Module):
    """The released attention network on absolute differences: 1x1 convolutions around one residual block."""

    def __init__(self, num_feat: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(num_feat, num_feat, 1)
        self.body = nn.Sequential(nn.Conv2d(num_feat, num_feat, 1), leaky_relu(), nn.Conv2d(num_feat, num_feat, 1))
        self.last = nn.Conv2d(num_feat, 1, 1)

    def forward(self, difference: Tensor) -> Tensor:
        """Shape: (rows, C) -> (rows, 1)."""
        x = pointwise(self.first, difference)
        before, activation, after = self.body
        return pointwise(self.last, x + pointwise(after, activation(pointwise(before, x))))


def pointwise(conv: nn.Conv2d, x: Tensor) -> Tensor:
    """Apply a 1x1 convolution to rows of channels. Shape: (rows, C) -> (rows, D)."""
    return F.linear(x, conv.weight.flatten(1), conv.bias)


class Embedding(nn.Sequential):
    """Three-layer CNN that describes the pixels of an RGB image for the search.

    Args:
        num_feat: Number of channels C.
    """

    def __init__(self, num_feat: int) -> None:
        layers: list[nn.Module] = []
        for in_channels in (3, num_feat, num_feat):
            layers += [nn.Conv2d(in_channels, num_feat, 3, padding=1), leaky_relu()]
        super().__init__(*layers)

    def forward(self, image: Tensor) -> Tensor:
        """Shape: (B, 3, H, W) -> (B, C, H, W)."""
        x = self[1](self[0](image))
        first, second = self[2], self[4]
        if runs_fused(x):
            return fusion([x], first.weight, first.bias, second.weight, second.bias, NEGATIVE_SLOPE)
        if trains_fused(x):
            return train_pair([x], first.weight, first.bias, second.weight, second.bias, last_activation=True)
        return self[5](second(self[3](first(x))))


def official_window_origin(
    query_grid: list[int], database_grid: list[int], window_size: int, scale: int, device: torch.device
) -> Tensor:
    """Return the released code's windows: query place halved, whatever the scale, less the window over the scale.

    Returns:
        Top-left places, shape (M, 2), int64.
    """
    side = window_side(window_size, database_grid)
    axes = [
        (torch.arange(queries, device=device) // 2 - side // scale).clamp(0, places - side)
        for queries, places in zip(query_grid, database_grid, strict=True)
    ]
    return torch.cartesian_prod(*axes).reshape(-1, 2)


def check_positive(where: str, **settings: int) -> None:
    """Raise one sentence for the first setting that is no integer (TypeError) or below 1 (ValueError)."""
    for name, value in settings.items():
        if type(value) is not int:
            raise TypeError(f"{where}: `{name}` must be an integer, got {value!r}.")
        if value < 1:
            raise ValueError(f"{where}: `{name}` must be at least 1, got {value}.")


def check_graph_settings(
    where: str,
    num_feat: int,
    patch_size: int,
    stride: int,
    num_neighbors: int,
    window_size: int | None,
    variant: str,
    **more: int,
) -> None:
    """Raise one sentence if a setting of the graph is out of its range (ValueError) or no integer (TypeError)."""
    positive = {"num_feat": num_feat, "patch_size": patch_size, "stride": stride, **more}
    if window_size is not None:
        positive["window_size"] = window_size
    check_positive(where, **positive, num_neighbors=num_neighbors)
    if variant not in VARIANTS:
        raise ValueError(f"{where}: `variant` must be one of {VARIANTS}, got {variant!r}.")
    if window_size is not None and num_neighbors > window_size**2:
        raise ValueError(
            f"{where}: `num_neighbors` must be in [1, window_size**2 = {window_size**2}], got {num_neighbors}."
        )
    if variant == "official" and stride != patch_size:
        raise ValueError(
            f'{where}: `stride` must equal `patch_size` = {patch_size} with variant "official", got {stride}; '
            'use variant "paper" for other strides.'
        )
