"""Peak memory of one forward pass beside its estimate, and the estimate's constants measured anew.

`python -m benchmarks.memory` prints the constants for `msgnn_plugin/memory.py`, then a table made with those that are
there now. Every figure is the growth of a fresh process, in inference, float32, by the compiled ops if they are built.
"""

import argparse
import math
from functools import partial

import torch
from rich.console import Console
from rich.table import Table

from benchmarks.harness import MEBIBYTE, Contender, fresh_process_memory
from msgnn_plugin import MSGNNArch, memory

SIDE = 384
CHECKED_SIZES = ((192, 256), (321, 481), (512, 768))


def prepare(settings: dict, size: tuple[int, int], exemplar_size: tuple[int, int] | None) -> tuple:
    """Build a network and its inputs."""
    images = [
        None if sides is None else torch.rand(1, 3, *sides).contiguous(memory_format=torch.channels_last)
        for sides in (size, exemplar_size)
    ]
    return MSGNNArch(**settings).eval().to(memory_format=torch.channels_last), *images


def forward(network: MSGNNArch, rainy: torch.Tensor, exemplar: torch.Tensor | None) -> None:
    """Run it."""
    with torch.inference_mode():
        network(rainy, exemplar)


def grown_by(settings: dict, size: tuple[int, int], exemplar_size: tuple[int, int] | None = None) -> float:
    """Return by how many bytes one forward pass grows a fresh process."""
    contender = Contender(str(settings), partial(prepare, settings, size, exemplar_size), forward)
    return fresh_process_memory(contender)[1] * MEBIBYTE


def calibrate() -> dict[str, float]:
    """Measure the constants one after the other, each by a network in which it stands out."""
    fixed = grown_by({}, (16, 16))
    pixels = SIDE * SIDE
    one_map = 4 * pixels * 32

    def maps(settings: dict, shape: tuple[int, int] = (SIDE, SIDE), database: int | None = None) -> float:
        exemplar_size = None if database is None else (SIDE, database * SIDE // 4)
        grown = grown_by({"num_groups": 2, **settings}, shape, exemplar_size)
        return (grown - fixed - 4 * math.prod(shape) * memory.PICTURE_CHANNELS) / one_map

    few, many = (maps({"graph": False, "num_blocks": blocks}) for blocks in (4, 12))
    graph = {"num_blocks": 1, "scales": (1,), "use_exemplar": False}
    # One graph whose database is an exemplar 4 or 8 times as large as the picture, so that its own maps stand out.
    search = {"num_blocks": 1, "scales": ()}
    once, twice = (maps(search, (SIDE, SIDE // 4), times) for times in (4, 8))
    branch_once, branch_twice = (maps({**search, "variant": "official"}, (SIDE, SIDE // 4), times) for times in (4, 8))
    return {
        "MAPS_PER_BLOCK": (many - few) / 8,
        "TRUNK_MAPS": few - (many - few) / 2,
        "GRAPH_MAPS": maps(graph) - 1 - (twice - once),
        "DATABASE_MAPS": twice - once,
        "BRANCH_MAPS": branch_twice - branch_once - (twice - once),
        "FIXED_BYTES": fixed,
    }


def main() -> None:
    """Print constants and table."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.memory")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads(), help="of torch (%(default)s)")
    torch.set_num_threads(parser.parse_args().threads)
    for name, value in calibrate().items():
        print(f"{name} = {value / MEBIBYTE:.0f} * 2**20" if name == "FIXED_BYTES" else f"{name} = {value:.1f}")
    table = Table(title="growth of a fresh process in one forward pass")
    for column in ("network", "picture", "measured MiB", "estimated MiB", "estimate / measured"):
        table.add_column(column, justify="right")
    for settings in ({}, {"variant": "official"}, {"num_feat": 16, "num_blocks": 4, "num_groups": 2}):
        network = MSGNNArch(**settings)
        for size in CHECKED_SIZES:
            measured, estimated = grown_by(settings, size), memory.estimate_bytes(network, size)
            name = ", ".join(f"{key}={value}" for key, value in settings.items()) or "default"
            figures = (f"{math.floor(count / MEBIBYTE)}" for count in (measured, estimated))
            table.add_row(name, f"{size[1]} x {size[0]}", *figures, f"{estimated / measured:.2f}")
    Console(width=120).print(table)


if __name__ == "__main__":
    main()
