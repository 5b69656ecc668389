"""How much memory a network takes for a picture, estimated before the run, and how much there is."""

import math
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Literal

import torch

from msgnn_plugin.archs import MSGNNArch

Size = Sequence[float]

# What `python -m benchmarks.memory --calibrate` measures and prints. In maps of num_feat channels at the peak.
MAPS_PER_BLOCK = 1.0  # of a tile: each residual unit's, in the sub-networks
TRUNK_MAPS = 3.8  # of a tile: the rest there, but for the graphs' results
GRAPH_MAPS = 5.0  # of a tile: while one graph searches and aggregates, beside maps kept from the pass before
DATABASE_MAPS = 1.8  # of what a graph searches
BRANCH_MAPS = 6.2  # of the same, for the features of variant "official"
PICTURE_CHANNELS = 8.0  # of the whole picture: itself, its smaller scales, the result
FIXED_BYTES = 18 * 2**20
# Maps below 32 MiB come from the C library's heap, which keeps gaps; larger ones are given back one by one.
FRAGMENTATION = 1.3
HEAP_BYTES = 32 * 2**20


def estimate_bytes(
    network: MSGNNArch,
    size: tuple[int, int],
    exemplar_size: tuple[int, int] | None = None,
    *,
    tile: int | None = None,
    database: Literal["image", "tile"] = "image",
) -> int:
    """Estimate the memory that deraining one picture takes beside the process as it is, to about a fifth.

    The model is ours: maps alive at the peak, counted in fresh processes on a CPU, by the compiled ops where they are
    built (`benchmarks/memory.py`).

    Args:
        network: The network, in the dtype it will run in.
        size: Height and width of the picture in pixels.
        exemplar_size: The same of the exemplar; None where the network is given none.
        tile: Largest side of a tile in pixels; None or a larger one than the picture's sides means no tiles.
        database: "image" or "tile": what a tile searches.

    Returns:
        Bytes at the peak.
    """
    settings = network.settings
    part = [min(side, tile or side) for side in size]
    whole = database == "image" or part == list(size)
    reach = math.inf if settings["window_size"] is None else settings["window_size"] * settings["stride"]
    image = size if whole else part
    databases = [[side / scale for side in image] for scale in network.scales]
    if network.use_exemplar:
        databases.append(exemplar_size or (network.exemplar_bank.shape[2:] if len(network.exemplar_bank) else image))
    searched = max((_searched(sides, part, image, reach) for sides in databases), default=0)
    pixels, graphs = math.prod(part), len(network.graphs)
    maps = pixels * (MAPS_PER_BLOCK * settings["num_blocks"] + TRUNK_MAPS + graphs)
    if graphs:
        database_maps = DATABASE_MAPS + (BRANCH_MAPS if settings["variant"] == "official" else 0)
        maps = max(maps, pixels * (GRAPH_MAPS + graphs) + searched * database_maps)
    item = next(network.parameters()).element_size()
    one_map = pixels * settings["num_feat"] * item
    # Never less for a larger picture, so too much just above the border.
    spread = min(FRAGMENTATION, max(1.0, FRAGMENTATION * HEAP_BYTES / one_map))
    own = spread * maps * settings["num_feat"] + PICTURE_CHANNELS * math.prod(size)
    return FIXED_BYTES + int(own * item)


def _searched(database: Size, part: Size, image: Size, reach: float) -> float:
    """Return the pixels that a part's windows cover: its own share of each side and half a window before and after."""
    shares = zip(database, part, image, strict=True)
    return math.prod(min(side, side * own / whole + reach) for side, own, whole in shares)


def available_bytes(device: torch.device, root: Path = Path("/")) -> int | None:
    """Return how much more memory this process may take on a device; None where the system does not say.

    On a CPU that is what Linux calls available, or less where a control group (a container, a batch job) has a limit;
    elsewhere the installed memory. On a GPU it is what is free, with what PyTorch holds in reserve.

    Args:
        device: The device.
        root: Where the system's files are.
    """
    if device.type == "cuda":
        free, _ = torch.cuda.mem_get_info(device)
        return free + torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
    if device.type != "cpu":
        return None
    return min([*_of_system(root), *_of_control_groups(root)], default=None)


def _of_system(root: Path) -> Iterator[int]:
    table = root / "proc/meminfo"
    if table.is_file():
        fields = dict(line.split(":", 1) for line in table.read_text().splitlines())
        yield int(fields["MemAvailable"].split()[0]) * 1024
    elif hasattr(os, "sysconf") and "SC_PHYS_PAGES" in os.sysconf_names:
        yield os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


def _of_control_groups(root: Path) -> Iterator[int]:
    """Yield what is left below each limit of this process' groups and of those that these are in, version 2 and 1."""
    table = root / "proc/self/cgroup"
    for line in table.read_text().splitlines() if table.is_file() else ():
        number, controllers, group = line.split(":", 2)
        if number == "0":
            home, limit, usage, reclaimable = "sys/fs/cgroup", "memory.max", "memory.current", "inactive_file"
        elif "memory" in controllers.split(","):
            home, reclaimable = "sys/fs/cgroup/memory", "total_inactive_file"
            limit, usage = "memory.limit_in_bytes", "memory.usage_in_bytes"
        else:
            continue
        folder = root / home / group.strip("/")
        while folder.is_relative_to(root / home):
            # Inside a container the group's own folder may be out of sight; then the first one is the container's.
            if (folder / limit).is_file() and (text := (folder / limit).read_text().strip()) != "max":
                counts = dict(line.split() for line in (folder / "memory.stat").read_text().splitlines())
                used = int((folder / usage).read_text()) - int(counts.get(reclaimable, 0))
                yield max(int(text) - used, 0)
            folder = folder.parent
