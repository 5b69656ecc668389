"""Memory of one picture beside its estimate, in fresh processes: float32, inference, compiled ops where they are built.

`--calibrate` measures the constants of `msgnn_plugin/memory.py` anew and prints them as they stand there.
"""

import argparse
import json
import math
from functools import partial

import torch

from benchmarks.harness import MEBIBYTE, RESULTS, Contender, cpu_model, fresh_process_memory, machine_name
from msgnn_plugin import MSGNNArch, _extension, memory
from msgnn_plugin.tiling import Tiling, derain

SIDE = 640  # whose maps are above HEAP_BYTES
SMALL = {"num_feat": 16, "num_blocks": 4, "num_groups": 2}
# Settings, height and width, tile.
CHECKED = [
    *((settings, size, None) for settings in ({}, {"variant": "official"}, SMALL) for size in ((192, 256), (321, 481))),
    ({}, (512, 768), None),
    ({}, (512, 768), 256),
    ({}, (1080, 1920), 512),
]
COLUMNS = ("network", "picture", "tile", "peak MiB", "grown by MiB", "estimate MiB", "estimate / grown by")


def prepare(settings: dict, size: tuple[int, int], exemplar_size: tuple[int, int] | None) -> tuple:
    """Build a network and its inputs."""
    images = [
        None if sides is None else torch.rand(1, 3, *sides).contiguous(memory_format=torch.channels_last)
        for sides in (size, exemplar_size)
    ]
    return MSGNNArch(**settings).eval().to(memory_format=torch.channels_last), *images


def run(tile: int | None, network: MSGNNArch, rainy: torch.Tensor, exemplar: torch.Tensor | None) -> None:
    """Derain a picture whose memory nobody asks about."""
    with torch.inference_mode():
        derain(network, rainy, exemplar, None if tile is None else Tiling(tile=tile, memory=math.inf))


def weigh(
    settings: dict,
    size: tuple[int, int],
    exemplar_size: tuple[int, int] | None = None,
    tile: int | None = None,
) -> tuple[float, float]:
    """Return the peak of a fresh process in MiB, and by how much it grew."""
    contender = Contender(str(settings), partial(prepare, settings, size, exemplar_size), partial(run, tile))
    return fresh_process_memory(contender)


def calibrate() -> dict[str, float]:
    """Measure the constants one after the other, each by a network in which it stands out."""
    fixed = weigh({}, (16, 16))[1]

    def maps(settings: dict, shape: tuple[int, int] = (SIDE, SIDE), database: int | None = None) -> float:
        """Return the growth in maps of SIDE x SIDE pixels; an exemplar has ``database`` quarters of such a size."""
        exemplar_size = None if database is None else (SIDE, database * SIDE // 4)
        grown = weigh({"num_groups": 3, **settings}, shape, exemplar_size)[1] - fixed
        return (grown * MEBIBYTE / 4 - math.prod(shape) * memory.PICTURE_CHANNELS) / (32 * SIDE * SIDE)

    few, many = (maps({"graph": False, "num_blocks": blocks}) for blocks in (4, 12))
    graph = maps({"num_blocks": 1, "scales": (1,), "use_exemplar": False})
    # One graph whose database is an exemplar 4 or 8 times as large as the picture, so that its own maps stand out.
    search = {"num_blocks": 1, "scales": ()}
    once, twice = (maps(search, (SIDE, SIDE // 4), quarters) for quarters in (4, 8))
    official = {**search, "variant": "official"}
    official_once, official_twice = (maps(official, (SIDE, SIDE // 4), quarters) for quarters in (4, 8))
    on_heap = maps({"num_groups": 4}, (SIDE // 2, SIDE // 2)) * 4
    return {
        "MAPS_PER_BLOCK": (many - few) / 8,
        "TRUNK_MAPS": few - (many - few) / 2,
        "GRAPH_MAPS": graph - 1 - (twice - once),
        "DATABASE_MAPS": twice - once,
        "BRANCH_MAPS": official_twice - official_once - (twice - once),
        "FIXED_BYTES": fixed,
        "FRAGMENTATION": on_heap / (many + len(MSGNNArch().graphs)),
    }


def check() -> list[dict]:
    """Measure and estimate, printing row by row."""
    form = "{:>36} {:>12} {:>5} {:>9} {:>13} {:>13} {:>20}"
    print(form.format(*COLUMNS))
    rows = []
    for settings, size, tile in CHECKED:
        peak, grown = weigh(settings, size, tile=tile)
        estimate = memory.estimate_bytes(MSGNNArch(**settings), size, tile=tile) / MEBIBYTE
        name = ", ".join(f"{key}={value}" for key, value in settings.items()) or "default"
        numbers = (f"{value:.0f}" for value in (peak, grown, estimate))
        row = (name, f"{size[1]} x {size[0]}", str(tile or ""), *numbers, f"{estimate / grown:.2f}")
        print(form.format(*row), flush=True)
        rows.append(dict(zip(COLUMNS, row, strict=True)))
    return rows


def main() -> None:
    """Print constants, or the table and its file."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.memory")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads(), help="of torch (%(default)s)")
    parser.add_argument("--calibrate", action="store_true", help="print the estimate's constants instead")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    if arguments.calibrate:
        for name, value in calibrate().items():
            print(f"{name} = {value:.0f} * 2**20" if name == "FIXED_BYTES" else f"{name} = {value:.1f}")
        return
    facts = {
        "benchmark": "memory",
        "machine": cpu_model(),
        "torch": torch.__version__,
        "compiled_ops": _extension.status(),
        "threads": arguments.threads,
    }
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / f"memory-{machine_name()}.json"
    path.write_text(json.dumps({**facts, "results": check()}, indent=2) + "\n")


if __name__ == "__main__":
    main()
