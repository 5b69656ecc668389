"""Time a pixel and memory of the windowed search and of the whole network, from 128 to 2048 pixels a side."""

from functools import partial

import torch
import torch.nn.functional as F
from rich.console import Console
from rich.table import Table
from torch import Tensor

from benchmarks import harness
from benchmarks.network import build, run
from msgnn_plugin.ops import patch_knn

SIDES = (128, 256, 512, 1024, 2048)
BASE = 256
SETTINGS = {"patch_size": 3, "stride": 3, "num_neighbors": 5, "window_size": 30}


def search_inputs(side: int) -> tuple[Tensor]:
    """Return made-up features, smooth with a grain, (1, 32, side, side), channels-last."""
    generator = torch.Generator().manual_seed(0)
    features = F.interpolate(
        torch.randn(1, 32, side // 16, side // 16, generator=generator), scale_factor=16, mode="bicubic"
    )
    features += 0.05 * torch.randn(features.shape, generator=generator)
    return (features.contiguous(memory_format=torch.channels_last),)


def search(features: Tensor) -> None:
    """Seek the neighbours of all patches in the picture itself."""
    patch_knn(features, features, **SETTINGS)


def jobs(sides: tuple[int, ...]) -> dict[str, list[harness.Contender]]:
    """Return what is measured; the contenders of a job are its sides."""
    forward = partial(run, train=False, low=False, plain=False)
    return {
        "windowed search": [harness.Contender(str(side), partial(search_inputs, side), search) for side in sides],
        "network, forward": [
            harness.Contender(str(side), partial(build, "paper", (1, 3, side, side)), forward) for side in sides
        ],
    }


def print_table(rows: list[harness.Measurement]) -> None:
    """Print time a pixel, beside that at `BASE` pixels a side, and memory."""
    table = Table(title=f"scaling: {harness.cpu_model()}, {torch.get_num_threads()} threads")
    for column in ("job", "side", "wall ms", "wall ns a pixel", f"x {BASE}", "CPU ns a pixel", f"x {BASE}", "peak MiB"):
        table.add_column(column, justify="left" if column == "job" else "right")
    for row in rows:
        base = next(r for r in rows if r.job == row.job and r.contender == str(BASE))
        cells = [row.job, row.contender, f"{1000 * row.wall_median:.1f}"]
        for field in ("wall_median", "cpu_least"):
            here, there = (1e9 * getattr(r, field) / int(r.contender) ** 2 for r in (row, base))
            cells += [f"{here:.0f}", f"{here / there:.2f}"]
        table.add_row(*cells, f"{row.peak_mib:.0f}")
    Console(width=140).print(table)


if __name__ == "__main__":
    parser = harness.make_parser("scaling", rounds=3)
    parser.add_argument("--max-side", type=int, default=SIDES[-1], help="largest side in pixels (%(default)s)")
    arguments = harness.parse(parser)
    sides = tuple(side for side in SIDES if side <= max(arguments.max_side, BASE))
    found = [
        row for job, contenders in jobs(sides).items() for row in harness.measure(job, contenders, arguments.rounds)
    ]
    print_table(found)
    harness.write("scaling", found, {"sides": sides, **SETTINGS}, arguments)
