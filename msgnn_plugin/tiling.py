"""Large pictures: derained whole where the memory suffices, else in tiles, and told beforehand where neither goes."""

from dataclasses import dataclass, replace
from typing import Literal, Protocol, runtime_checkable

import torch
from torch import Tensor, nn

from msgnn_plugin.archs import MSGNNArch
from msgnn_plugin.layers import gaussian_pyramid
from msgnn_plugin.layers.tiles import Region, check_tiles, run_in_tiles
from msgnn_plugin.memory import available_bytes, estimate_bytes

# What is tried where a tile has to be found.
TILES = (2048, 1536, 1024, 768, 512, 384, 256, 192, 128, 96, 64)
DATABASES = ("image", "tile")
GIBIBYTE = 2**30


@runtime_checkable
class ExactlyTiled(Protocol):
    """A network that runs in tiles by itself, with the whole picture's result, and says what memory it takes."""

    def forward_tiled(self, rainy: Tensor, tile: int) -> Tensor:
        """Derain pictures (B, 3, H, W) in steps of at most tile x tile pixels; the result is that of `forward`."""

    def estimate_bytes(self, size: tuple[int, int], *, tile: int | None = None) -> int:
        """Return about how many bytes a picture of this height and width takes; None means no tiles."""


@dataclass(frozen=True, kw_only=True)
class Tiling:
    """Whether and how pictures are cut into tiles.

    With "image" a tile's patches search the same windows as in the whole picture, so that only what the sub-networks
    see ends at the tile: their convolutions within reach of its border, and the channel attention's energies, which
    are the tile's own. With "tile" a tile is a picture of its own, and searches itself.

    Args:
        tile: Largest side of a tile in pixels; "auto" takes the whole picture where the memory suffices, else the
            largest tile that fits; None always takes the whole picture.
        tile_overlap: Pixels that neighbouring tiles share; there a linear ramp blends them.
        tile_database: "image" or "tile"; a network without a graph has no database, and both mean the same.
        memory: Memory that may be taken, in GiB; None asks the system what is available.

    Raises:
        ValueError: If a setting is out of its range, with the limit.
        TypeError: If one is of a wrong kind.
    """

    tile: int | Literal["auto"] | None = None
    tile_overlap: int = 32
    tile_database: Literal["image", "tile"] = "image"
    memory: float | None = None

    def __post_init__(self) -> None:
        if type(self.tile_overlap) is not int:
            raise TypeError(f"Tiling: `tile_overlap` must be a whole number of pixels, got {self.tile_overlap!r}.")
        if self.tile not in (None, "auto") and type(self.tile) is not int:
            raise TypeError(f'Tiling: `tile` must be a whole number of pixels, "auto" or None, got {self.tile!r}.')
        check_tiles("Tiling", self.tile if type(self.tile) is int else self.tile_overlap + 1, self.tile_overlap)
        if self.tile_database not in DATABASES:
            raise ValueError(f"Tiling: `tile_database` must be one of {DATABASES}, got {self.tile_database!r}.")
        if self.memory is not None and not self.memory > 0:
            raise ValueError(f"Tiling: `memory` must be above 0 GiB, got {self.memory}.")

    def check_network(self, network: nn.Module) -> None:
        """Raise ValueError if tiles of this size do not suit the network's patches and scales, or its way of tiling."""
        if isinstance(network, ExactlyTiled):
            for name in ("tile_overlap", "tile_database"):
                if (value := getattr(self, name)) != getattr(Tiling, name):
                    raise ValueError(
                        f"Tiling: `{name}` must be left out for {type(network).__name__}, whose tiles give the whole "
                        f"picture's result without it, got {value!r}."
                    )
        elif type(self.tile) is int:
            check_tiles("Tiling", self.tile, self.tile_overlap, tile_step(network))

    def shared(self, count: int, device: torch.device) -> "Tiling":
        """Return the same tiling for each of several pictures that are derained at a time: with its part of the memory.

        Args:
            count: How many.
            device: Where, to ask for the memory that is available now where no limit is given.
        """
        available = None if self.memory is not None else available_bytes(device)
        memory = self.memory if available is None else available / GIBIBYTE
        return replace(self, memory=None if memory is None else memory / count)

    def settle(self, network: nn.Module, rainy: Tensor, exemplar: Tensor | None = None) -> int | None:
        """Return the tile's side for a picture, None for no tiles; cheap, and nothing is run.

        Raises:
            MemoryError: If the estimate for it is above what is available, with the tile that would fit.
            ValueError: If the tiles do not suit the network, or it is none whose memory can be estimated for "auto".
        """
        self.check_network(network)
        if not isinstance(network, (MSGNNArch, ExactlyTiled)):
            if self.tile == "auto":
                raise ValueError(
                    f"Tiling: `tile` auto needs a network whose memory can be estimated (MSGNNArch, NLCLGenerator), "
                    f"got {type(network).__name__}; give the pixels of a tile's side."
                )
            return self.tile
        available = available_bytes(rainy.device) if self.memory is None else self.memory * GIBIBYTE
        batch, _, height, width = rainy.shape

        def needed(tile: int | None) -> int:
            if isinstance(network, ExactlyTiled):
                return batch * network.estimate_bytes((height, width), tile=tile)
            sides = None if exemplar is None else tuple(exemplar.shape[2:])
            return batch * estimate_bytes(network, (height, width), sides, tile=tile, database=self.tile_database)

        first = None if self.tile == "auto" else self.tile
        if available is None or needed(first) <= available:
            return first
        room = self.tile_overlap + tile_step(network)
        smaller = [tile for tile in TILES if room <= tile < min(first or max(height, width), max(height, width))]
        fitting = next((tile for tile in smaller if needed(tile) <= available), None)
        if self.tile == "auto" and fitting is not None:
            return fitting
        remedy = f"use `--tile {fitting}` (in option files `val: tile: {fitting}`)"
        if fitting is None:
            remedy = "no smaller tiles would fit"
        cut = f" in tiles of {self.tile}" if type(self.tile) is int else ""
        raise MemoryError(
            f"{width} x {height} pixels{cut} need about {_gibibytes(needed(first))} of memory, "
            f"more than the {_gibibytes(available)} available; {remedy}"
        )


def tile_step(network: nn.Module) -> int:
    """Return the pixels at whose multiples tiles start: so their patches and smaller scales fall on the picture's."""
    if not isinstance(network, MSGNNArch):
        return 1
    return network.settings["stride"] * max(network.scales, default=1)


def derain(network: nn.Module, rainy: Tensor, exemplar: Tensor | None = None, tiling: Tiling | None = None) -> Tensor:
    """Derain pictures, in tiles if told so.

    Args:
        network: Takes rainy images (B, 3, H, W), RGB in [0, 1], and an exemplar of the same form if it is not None.
        rainy: Rainy images.
        exemplar: Other rainy images of any size, or None.
        tiling: How to cut them; None takes them whole and asks nothing about memory.

    Returns:
        Derained images, same shape, not clipped. What one tile covers is what the network gives for the whole.

    Raises:
        MemoryError: If the memory will not suffice, by estimate.
        ValueError: If the tiles do not suit the network.
    """
    inputs = () if exemplar is None else (exemplar,)
    size = rainy.shape[2], rainy.shape[3]
    tile = None if tiling is None else tiling.settle(network, rainy, exemplar)
    if tile is None or tile >= max(size):
        return network(rainy, *inputs)
    if isinstance(network, ExactlyTiled):
        return network.forward_tiled(rainy, tile)
    if isinstance(network, MSGNNArch) and tiling.tile_database == "image":
        levels = max(network.scales, default=1).bit_length()
        pyramid = gaussian_pyramid(rainy, [1 << level for level in range(levels)])

        def run(region: Region) -> Tensor:
            return network(rainy, exemplar, pyramid, region=region)
    else:

        def run(region: Region) -> Tensor:
            part = rainy[:, :, slice(*region[0]), slice(*region[1])]
            return network(part.contiguous(memory_format=torch.channels_last), *inputs)

    return run_in_tiles(run, size, tile=tile, overlap=tiling.tile_overlap, step=tile_step(network))


def _gibibytes(count: float) -> str:
    return f"{count / GIBIBYTE:.1f} GiB" if count >= GIBIBYTE / 10 else f"{count / 2**20:.0f} MiB"
