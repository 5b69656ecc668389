"""MSGNN: multi-scale graph network with exemplars for single image deraining.

Paper: Wang et al., "Explore Internal and External Similarity for Single Image Deraining with Graph Neural Networks"
(IJCAI 2024).
"""

from collections.abc import Mapping, Sequence
from typing import Any, Literal, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint as run_and_repeat

from msgnn_plugin.archs.msgnn_hyper import FIELDS, pack_hyper, unpack_hyper
from msgnn_plugin.archs.msgnn_official import convert_official
from msgnn_plugin.archs.settings_in_weights import SettingsInWeights
from msgnn_plugin.archs.state_dict import unwrap
from msgnn_plugin.layers.dense import DenseBranch, SubNetwork, leaky_relu
from msgnn_plugin.layers.graph_part import aggregate_part
from msgnn_plugin.layers.map_stack import NEGATIVE_SLOPE
from msgnn_plugin.layers.patch_graph import GraphAggregator, Variant, check_graph_settings, check_positive
from msgnn_plugin.layers.resize import gaussian_pyramid
from msgnn_plugin.layers.tiles import Region
from msgnn_plugin.layers.trained_pair import train_pair
from msgnn_plugin.ops.dense_merge import dense_merge
from msgnn_plugin.ops.fusion import fusion as fuse_maps
from msgnn_plugin.ops.map_pool import map_pool
from msgnn_plugin.ops.trunk_checks import runs_fused, trains_fused

EXEMPLAR = "exemplar"


class Neighbors(NamedTuple):
    """What a graph found for each of the M patches of a query image.

    Attributes:
        image: The database image, shape (B, 3, H', W'), RGB.
        index: Places of the K neighbours in its patch grid, row-major, nearest first, shape (B, M, K), int64.
        weight: By how much each counts, summing to 1 over K, shape (B, M, K).
    """

    image: Tensor
    index: Tensor
    weight: Tensor


class MSGNNArch(SettingsInWeights):
    """Remove rain by N densely connected sub-networks, fed between them with what a graph gathers from similar patches.

    Similar patches are sought in the image, in its smaller scales and in an exemplar: another rainy image. The
    graph's result is the same at every link between sub-networks, so it is computed once. With one sub-network there
    is no link, and "paper" builds no graph. What the variants mean for the graph itself is told at `GraphAggregator`;
    besides, "paper" fuses by two 5x5 convolutions, activates every convolution but the last, and builds nothing that
    gets no gradient, where "official" fuses by 1x1 convolutions if it has an exemplar, sums features of separate
    branches, and keeps the released code's unused parameters.

    Args:
        num_feat: Channels C.
        num_blocks: Residual units M of a sub-network.
        num_groups: Sub-networks N.
        scales: Scales to search in: 1 the image itself, 2 its half, 4 its quarter, ...; powers of two, increasing.
        use_exemplar: Whether to search in an exemplar too.
        channel_attention: "gct" (the paper's), "eca", "se" or None.
        fusion_connection: Whether sub-networks hand the next one a merge of all their units.
        graph: Whether to use the graph at all.
        patch_size: Side l of a patch in pixels.
        stride: Step s between patches in pixels.
        num_neighbors: Neighbours k of a patch.
        window_size: Side of the search window in patches, or None to search everywhere.
        variant: "paper" (as printed) or "official" (as released, faults included).
        checkpoint: Whether training keeps no maps inside sub-networks and computes them again for the backward pass:
            less memory, a fifth to a third more time, the same gradients. Not stored in the weights; the attribute of
            the same name may be changed at any time.

    Raises:
        ValueError: If a setting is out of its range, with the limit.
    """

    pack_hyper = staticmethod(pack_hyper)
    unpack_hyper = staticmethod(unpack_hyper)

    def __init__(
        self,
        *,
        num_feat: int = 32,
        num_blocks: int = 12,
        num_groups: int = 4,
        scales: Sequence[int] = (1, 2, 4),
        use_exemplar: bool = True,
        channel_attention: Literal["gct", "eca", "se"] | None = "gct",
        fusion_connection: bool = True,
        graph: bool = True,
        patch_size: int = 3,
        stride: int = 3,
        num_neighbors: int = 5,
        window_size: int | None = 30,
        variant: Variant = "paper",
        checkpoint: bool = False,
    ) -> None:
        super().__init__()
        settings = {name: value for name, value in locals().items() if name in FIELDS}
        if not isinstance(scales, Sequence):
            raise TypeError(f"MSGNNArch: `scales` must be a sequence such as (1, 2, 4), got {scales!r}.")
        settings["scales"] = scales = tuple(scales)
        _check_settings(num_blocks, num_groups, scales, use_exemplar, graph)
        check_graph_settings("MSGNNArch", num_feat, patch_size, stride, num_neighbors, window_size, variant)
        official = variant == "official"
        self.scales = scales
        self.use_exemplar = use_exemplar
        self.checkpoint = checkpoint
        self.stem = nn.Conv2d(3, num_feat, 3, padding=1)
        self.stem_activation = nn.Identity() if official else leaky_relu()
        self.groups = nn.ModuleList(
            SubNetwork(
                num_feat,
                num_blocks,
                channel_attention,
                fusion=fusion_connection and (official or index < num_groups - 1),
                unused_merge=official,
            )
            for index in range(num_groups)
        )
        self.graphs = nn.ModuleDict()
        self.branches = nn.ModuleDict()
        self.fusions = nn.ModuleList()
        if graph and (official or num_groups > 1):
            self._build_graphs(num_feat, num_groups, patch_size, stride, num_neighbors, window_size, variant)
        self.head = nn.Sequential(nn.Conv2d(num_feat, num_feat, 3, padding=1), leaky_relu(), nn.Conv2d(num_feat, 3, 1))
        self.settings = settings
        self.register_buffer("hyper", pack_hyper(settings))
        self.register_buffer("exemplar_bank", torch.zeros(0, 3, 1, 1, dtype=torch.uint8))

    def _build_graphs(
        self,
        num_feat: int,
        num_groups: int,
        patch_size: int,
        stride: int,
        num_neighbors: int,
        window_size: int | None,
        variant: Variant,
    ) -> None:
        official = variant == "official"
        databases = {_scale_name(scale): scale for scale in self.scales}
        if self.use_exemplar:
            databases[EXEMPLAR] = 1
        for name, scale in databases.items():
            self.graphs[name] = GraphAggregator(
                num_feat=num_feat,
                patch_size=patch_size,
                stride=stride,
                num_neighbors=num_neighbors,
                window_size=window_size,
                scale=scale,
                variant=variant,
            )
        if official:
            # The released code builds the exemplar's branch even where it has no exemplar.
            for name in (*map(_scale_name, self.scales), EXEMPLAR):
                self.branches[name] = nn.Sequential(
                    nn.Conv2d(3, num_feat, 3, padding=1), leaky_relu(), DenseBranch(num_feat)
                )
        kernel = 1 if official and self.use_exemplar else 5
        for _ in range(num_groups if official else num_groups - 1):
            self.fusions.append(
                _fusion((1 + len(databases)) * num_feat, num_feat, kernel, last_activation=not official)
            )

    def forward(
        self,
        rainy: Tensor,
        exemplar: Tensor | None = None,
        pyramid: Sequence[Tensor] | None = None,
        region: Region | None = None,
    ) -> Tensor:
        """Return the derained image, not clipped.

        Shape: (B, 3, H, W) -> same; RGB with range [0, 1], any H and W from 1 up.

        Args:
            rainy: Rainy images.
            exemplar: Other rainy images (B or 1, 3, h, w) of any size. None means the first of the bank stored in the
                weights, or where that is empty the rainy images themselves. Which of the bank suits a picture is for
                the caller to say, as `restore` does. Ignored by a network built without that branch.
            pyramid: The rainy images, their half, their quarter and so on up to the largest of ``scales``, where the
                caller has them already; None makes them.
            region: Rows and columns that are wanted, each (first, one after the last) in pixels; the result has their
                size. The graph still searches the whole image for them, the sub-networks see nothing else. None means
                all.

        Raises:
            ValueError: If a shape is wrong, or the region is not inside the image.
        """
        _check_image("rainy", rainy)
        if region is not None:
            _check_region(region, rainy)
        if torch.is_grad_enabled() or torch.compiler.is_compiling():
            return self._derain(rainy, exemplar, pyramid, region)
        with map_pool():
            return self._derain(rainy, exemplar, pyramid, region)

    @torch.no_grad()
    def neighbors(self, rainy: Tensor, exemplar: Tensor | None = None) -> dict[str, Neighbors]:
        """Return what each graph finds for every patch of a rainy image, by the graph's name; empty without graphs.

        Args:
            rainy: Rainy images (B, 3, H, W), RGB with range [0, 1].
            exemplar: As in `forward`.

        Returns:
            The image, half and quarter are called ``scale1``, ``scale2``, ``scale4``, the other image ``exemplar``.

        Raises:
            ValueError: If a shape is wrong.
        """
        _check_image("rainy", rainy)
        rainy = rainy.contiguous(memory_format=torch.channels_last)
        databases = self._databases(rainy, exemplar, None) if self.graphs else {}
        return {
            name: Neighbors(databases[name], *graph.neighbors(rainy, databases[name]))
            for name, graph in self.graphs.items()
        }

    def _derain(
        self,
        rainy: Tensor,
        exemplar: Tensor | None,
        pyramid: Sequence[Tensor] | None,
        region: Region | None,
    ) -> Tensor:
        # Convolutions on a CPU run several times faster in this layout; the caller's layout comes back at the end.
        was_contiguous = rainy.is_contiguous()
        rainy = rainy.contiguous(memory_format=torch.channels_last)
        similar = self._gather_similar(rainy, exemplar, pyramid, region) if self.fusions else []
        if region is not None:
            rainy = rainy[:, :, slice(*region[0]), slice(*region[1])].contiguous(memory_format=torch.channels_last)
        x, fusion = self.stem_activation(self.stem(rainy)), None
        last = len(self.groups) - 1
        if similar and runs_fused(x) and self.fusions[0][0].kernel_size == (1, 1):
            similar = _pointwise_shares(self.fusions[:last], similar)
        elif similar and not (runs_fused(x) or _trains_pair(self.fusions[0], x)):
            similar = [torch.cat([each.contiguous(memory_format=torch.channels_last) for each in similar], dim=1)]
        for index, group in enumerate(self.groups):
            if self.checkpoint and torch.is_grad_enabled() and not torch.compiler.is_exporting():
                # No random numbers are drawn inside, so their state need not be kept.
                x, fusion = run_and_repeat(
                    group, x, fusion, want_fusion=index < last, use_reentrant=False, preserve_rng_state=False
                )
            else:
                x, fusion = group(x, fusion, want_fusion=index < last)
            if similar and index < last:
                x = _fuse(self.fusions[index], x, similar)
        del similar, fusion
        derained = rainy - self.head(x)
        return derained.contiguous() if was_contiguous else derained

    def _gather_similar(
        self,
        rainy: Tensor,
        exemplar: Tensor | None,
        pyramid: Sequence[Tensor] | None,
        region: Region | None,
    ) -> list[Tensor]:
        """Run every graph; returns a map (B, C, H, W) of each, or the region of it."""
        databases = self._databases(rainy, exemplar, pyramid)
        maps = []
        for name, graph in self.graphs.items():
            branch = self.branches[name] if self.branches else None
            if region is not None:
                maps.append(aggregate_part(graph, rainy, databases[name], region, branch))
                continue
            features = None if branch is None else branch(databases[name])
            maps.append(graph(rainy, databases[name], features))
        return maps

    def _databases(self, rainy: Tensor, exemplar: Tensor | None, pyramid: Sequence[Tensor] | None) -> dict[str, Tensor]:
        """Return the image that each graph searches."""
        databases = {_scale_name(s): level for s, level in zip(self.scales, self._pyramid(rainy, pyramid), strict=True)}
        if self.use_exemplar:
            databases[EXEMPLAR] = self._exemplar(rainy, exemplar)
        return databases

    def _pyramid(self, rainy: Tensor, pyramid: Sequence[Tensor] | None) -> Sequence[Tensor]:
        if pyramid is None:
            return gaussian_pyramid(rainy, self.scales)
        count = max(self.scales, default=1).bit_length()
        if len(pyramid) < count:
            raise ValueError(
                f"MSGNNArch: `pyramid` must have {count} images, halved from one to the next, for `scales` = "
                f"{self.scales}, got {len(pyramid)}."
            )
        levels = {1: rainy}
        for number, level in enumerate(pyramid[:count]):
            scale = 1 << number
            wanted = (*rainy.shape[:2], *(-(-side // scale) for side in rainy.shape[2:]))
            if tuple(level.shape) != wanted:
                raise ValueError(f"MSGNNArch: `pyramid[{number}]` must have shape {wanted}, got {tuple(level.shape)}.")
            levels.setdefault(scale, level)
        return [levels[scale] for scale in self.scales]

    def _exemplar(self, rainy: Tensor, exemplar: Tensor | None) -> Tensor:
        if exemplar is None:
            if self.exemplar_bank.shape[0] == 0:
                return rainy
            exemplar = self.exemplar_bank[:1].to(rainy.dtype) / 255
        _check_image(EXEMPLAR, exemplar)
        if exemplar.shape[0] not in (1, rainy.shape[0]):
            raise ValueError(
                f"MSGNNArch: `exemplar` must have batch 1 or {rainy.shape[0]} as `rainy`, got {exemplar.shape[0]}."
            )
        return exemplar.expand(rainy.shape[0], -1, -1, -1).contiguous(memory_format=torch.channels_last)

    def set_exemplar_bank(self, images: Tensor) -> None:
        """Store rainy images in the weights, to serve where no exemplar is given.

        Args:
            images: Shape (E, 3, h, w), uint8, RGB; E may be 0.

        Raises:
            ValueError: If shape or dtype is wrong.
        """
        if images.dim() != 4 or images.shape[1] != 3 or min(images.shape[2:]) < 1 or images.dtype != torch.uint8:
            raise ValueError(
                f"MSGNNArch: `images` of the exemplar bank must be uint8 of shape (E, 3, h, w), "
                f"got {images.dtype} of shape {tuple(images.shape)}."
            )
        self.exemplar_bank = images.to(self.exemplar_bank.device, copy=True)

    def _look_at_buffers(self, state_dict: Mapping[str, Any], prefix: str) -> None:
        super()._look_at_buffers(state_dict, prefix)
        # A bank may hold any number of images, which no loading by shape allows for.
        if prefix + "exemplar_bank" in state_dict:
            self.set_exemplar_bank(state_dict[prefix + "exemplar_bank"])

    @classmethod
    def from_state_dict(cls, state_dict: Mapping[str, Any]) -> "MSGNNArch":
        """Build the network that these weights describe, and load them.

        Args:
            state_dict: Our weights; ``params_ema``, ``params`` and ``state_dict`` wrappers and ``module.`` prefixes
                are accepted.

        Raises:
            ValueError: If the weights carry no settings, with what to do.
            RuntimeError: If tensors are missing or do not fit.
        """
        weights = unwrap(state_dict)
        if "hyper" not in weights:
            raise ValueError(
                "MSGNNArch: `state_dict` must hold our settings buffer `hyper`, got weights without it; "
                "use MSGNNArch.from_official for the authors' checkpoints."
            )
        network = cls(**unpack_hyper(weights["hyper"]))
        network.load_state_dict(weights)
        return network

    @classmethod
    def from_official(
        cls, state_dict: Mapping[str, Any], channel_order: Literal["bgr", "rgb"] = "bgr", **overrides: Any
    ) -> "MSGNNArch":
        """Build the "official" network that the authors' checkpoint describes, and load it.

        Args:
            state_dict: The authors' weights, also inside a ``net`` wrapper and with ``module.`` prefixes.
            channel_order: "bgr" turns the first and last convolutions so that the network takes and gives RGB; "rgb"
                takes the weights as they are.
            **overrides: What tensors do not tell: ``num_neighbors``, ``patch_size``, ``stride``, ``window_size``.

        Raises:
            ValueError: If the weights are not the authors', or ``channel_order`` is unknown.
        """
        settings, weights = convert_official(unwrap(state_dict), channel_order)
        network = cls(**{**settings, **overrides})
        weights.update(network.named_buffers())
        network.load_state_dict(weights)
        return network


def _scale_name(scale: int) -> str:
    return f"scale{scale}"


def _fusion(in_channels: int, num_feat: int, kernel: int, *, last_activation: bool) -> nn.Sequential:
    layers = [
        nn.Conv2d(in_channels, num_feat, kernel, padding=kernel // 2),
        leaky_relu(),
        nn.Conv2d(num_feat, num_feat, kernel, padding=kernel // 2),
    ]
    return nn.Sequential(*layers, *([leaky_relu()] if last_activation else []))


def _pointwise_shares(networks: Sequence[nn.Sequential], similar: list[Tensor]) -> list[Tensor]:
    """Return what the first, 1x1 convolution of each fusion network makes of the graphs' maps, read once."""
    if not networks:
        return []
    channels = similar[0].shape[1]
    weight, *later = (network[0].weight[:, channels:] for network in networks)
    first, _, others = dense_merge(similar, weight, weight.new_zeros(channels), 1.0, later=later)
    return [first, *others]


def _fuse(network: nn.Sequential, x: Tensor, similar: list[Tensor]) -> Tensor:
    """Apply a fusion network to (x, *similar) without concatenating them; `_pointwise_shares` are used up."""
    first, activation, second, *last = network
    weights = first.weight, first.bias, second.weight, second.bias
    if runs_fused(x) and first.kernel_size == (1, 1):
        own = first.weight[:, : x.shape[1]]
        x = dense_merge([x], own, first.bias, NEGATIVE_SLOPE, sums=similar.pop(0))[0]
        return dense_merge([x], *weights[2:], NEGATIVE_SLOPE if last else 1.0)[0]
    if runs_fused(x):
        return fuse_maps([x, *similar], *weights, NEGATIVE_SLOPE, last_activation=bool(last))
    if _trains_pair(network, x):
        return train_pair([x, *similar], *weights, last_activation=bool(last))
    # The first convolution is a sum over the maps.
    own, others = first.weight.split((x.shape[1], similar[0].shape[1]), dim=1)
    x = F.conv2d(similar[0], others, first.bias, padding=first.padding).add_(F.conv2d(x, own, padding=first.padding))
    for layer in (activation, second, *last):
        x = layer(x)
    return x


def _trains_pair(network: nn.Sequential, x: Tensor) -> bool:
    """Whether a fusion network's training runs as one function, which no 1x1 convolutions do."""
    return trains_fused(x) and network[0].kernel_size != (1, 1)


def _check_settings(
    num_blocks: int,
    num_groups: int,
    scales: tuple[int, ...],
    use_exemplar: bool,
    graph: bool,
) -> None:
    check_positive("MSGNNArch", num_blocks=num_blocks, num_groups=num_groups)
    powers = all(type(scale) is int and scale > 0 and scale & (scale - 1) == 0 for scale in scales)
    if not powers or list(scales) != sorted(set(scales)):
        raise ValueError(f"MSGNNArch: `scales` must be increasing powers of two such as (1, 2, 4), got {scales}.")
    if graph and not scales and not use_exemplar:
        raise ValueError(
            "MSGNNArch: `scales` must name at least one scale if `graph` is on and `use_exemplar` off, got ()."
        )


def _check_image(name: str, image: Tensor, batch: int | None = None) -> None:
    if image.dim() != 4 or image.shape[1] != 3 or min(image.shape) < 1 or batch not in (None, image.shape[0]):
        wanted = "B" if batch is None else str(batch)
        raise ValueError(f"MSGNNArch: `{name}` must have shape ({wanted}, 3, H, W), got {tuple(image.shape)}.")


def _check_region(region: Region, image: Tensor) -> None:
    height, width = image.shape[2:]
    inside = all(0 <= first < last <= side for (first, last), side in zip(region, (height, width), strict=True))
    if not inside:
        raise ValueError(
            f"MSGNNArch: `region` must be rows in [0, {height}] and columns in [0, {width}], each first below last, "
            f"got {region}."
        )
