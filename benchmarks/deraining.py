"""PSNR, SSIM, time and memory of PReNet and of ours, side by side on the same pairs.

``python -m benchmarks.deraining Rain100H=datasets/rain100h/test --weights NAME --peer Rain100H=net_latest.pth`` gives
one table a set. Numbers are those of `basicsr test` with the shipped option files: whole pictures, results rounded to
8 bits, borders kept, mean over pictures, exemplars by the set's policy (``--exemplar``). A pair that cannot be read, or
that one method cannot derain, is left out for all of them and told; the exit code is then 1.
"""

import argparse
import hashlib
import statistics
import sys
from collections.abc import Sequence
from dataclasses import asdict, astuple, dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import track
from torch import Tensor

from benchmarks import harness
from benchmarks.deraining_methods import Derain, Method, ours, peak_memory, peer, timed, warm_up
from msgnn_plugin.adapters.basicsr.measuring import side_by_side, write_picture
from msgnn_plugin.cli.tables import markdown_table, print_table
from msgnn_plugin.data import PairedExemplarDataset
from msgnn_plugin.data.atomic import write_bytes_atomic
from msgnn_plugin.data.exemplar_bank import as_bytes
from msgnn_plugin.data.exemplars import POLICIES
from msgnn_plugin.metrics import measure_similarity
from msgnn_plugin.metrics.table import MeasureTable
from msgnn_plugin.weights import weights_path

STRIPS = 4
MEASURES = ("psnr", "ssim", "psnr_y", "ssim_y")
PROTOCOL = (
    "whole pictures, 8-bit results, crop_border 0, mean over pictures; PSNR and SSIM on RGB and on Y in [16, 235] as "
    "BasicSR measures them"
)
COLUMNS = ("method", "PSNR", "SSIM", "PSNR on Y", "SSIM on Y", "s a picture", "peak MiB")


@dataclass(frozen=True)
class Row:
    """One method on one set. Seconds are the median of a picture, memory is that of the largest picture."""

    method: str
    psnr: float
    ssim: float
    psnr_y: float
    ssim_y: float
    seconds: float | None
    peak_mib: float | None


def measure(derained: NDArray[np.uint8], clean: NDArray[np.uint8]) -> dict[str, float]:
    """Return `MEASURES` of one picture, both (H, W, 3) RGB."""
    rgb, y = (measure_similarity(derained, clean, protocol) for protocol in ("rgb", "y"))
    return dict(zip(MEASURES, (*rgb, *y), strict=True))


class SetRun:
    """Measures all methods on one set, picture by picture.

    Args:
        dataset: Pairs with their exemplars.
        methods: Each with the function that it was loaded into.
        strips: Folder for strips (rainy, one panel a method, clean) of the first `STRIPS` pictures; None for none.
    """

    def __init__(
        self, dataset: PairedExemplarDataset, methods: dict[Method, Derain | None], strips: Path | None
    ) -> None:
        self.dataset, self.methods, self.strips = dataset, methods, strips
        self.tables = {method: MeasureTable(MEASURES) for method in methods}
        self.seconds: dict[Method, list[float | None]] = {method: [] for method in methods}
        self.failures: list[str] = []
        self.largest: tuple[Tensor, Tensor] | None = None
        self.count = 0

    def add(self, index: int) -> None:
        """Measure all methods on one picture, or note why it cannot be read or derained by all of them."""
        try:
            sample = self.dataset[index]
            rainy, exemplar = (sample[key][None] for key in ("lq", "exemplar"))
            if self.count == 0:
                warm_up([run for run in self.methods.values() if run is not None], rainy)
            done = [(rainy, None) if run is None else timed(run, rainy, exemplar) for run in self.methods.values()]
        except (OSError, ValueError, MemoryError) as error:
            self.failures.append(str(error))
            return
        if self.largest is None or rainy.numel() > self.largest[0].numel():
            self.largest = rainy, exemplar
        clean, name = as_bytes(sample["gt"]), self.dataset.pairs[index].name
        pictures = [as_bytes(derained[0]) for derained, _ in done]
        for method, picture, (_, seconds) in zip(self.methods, pictures, done, strict=True):
            self.tables[method].add(name, None, measure(picture, clean))
            self.seconds[method].append(seconds)
        if self.strips is not None and self.count < STRIPS:
            strip = side_by_side([*pictures, clean])
            write_picture(np.ascontiguousarray(strip[..., ::-1]), self.strips / f"{name}.png")
        self.count += 1

    def rows(self) -> list[Row]:
        """Return what was measured, after weighing each method on the largest picture."""
        rows = []
        for method, table in self.tables.items():
            cost = (None, None)
            if method.load is not None:
                cost = statistics.median(self.seconds[method]), peak_memory(method, *self.largest)
            rows.append(Row(method.name, *(table.mean(column).value for column in MEASURES), *cost))
        return rows


def cells(row: Row) -> list[str]:
    """Return a row's text."""
    values = zip(astuple(row)[1:], (2, 4, 2, 4, 2, 0), strict=True)
    return [row.method, *("-" if value is None else f"{value:.{digits}f}" for value, digits in values)]


def named(entries: Sequence[str], what: str, *, bare: bool = False) -> dict[str, str]:
    """Read NAME=VALUE; where ``bare`` allows a value alone, its stem is the name.

    Raises:
        ValueError: If an entry has another form, or two have one name.
    """
    found: dict[str, str] = {}
    for entry in entries:
        name, equals, value = entry.partition("=")
        if not equals and bare:
            name, value = Path(entry).stem, entry
        if not name or not value or Path(name).name != name or name in found:
            raise ValueError(f"{what} must be NAME=VALUE with a NAME of its own that is no path, got {entry!r}.")
        found[name] = value
    return found


def parse(argv: Sequence[str] | None) -> tuple[argparse.ArgumentParser, argparse.Namespace]:
    """Read the command line; the parser comes along to report what is wrong with it."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.deraining", description=__doc__.partition("\n")[0])
    parser.add_argument("sets", nargs="+", metavar="SET=ROOT", help="sets of pairs, in any layout of data/layouts.py")
    parser.add_argument(
        "--weights", nargs="+", default=[], metavar="[NAME=]WEIGHTS", help="ours: shipped names, or files of any family"
    )
    parser.add_argument("--peer", nargs="+", default=[], metavar="NAME=FILE", help="PReNet's released weights")
    parser.add_argument(
        "--left", choices=("clean", "rainy"), default="clean", help="left half of a joined file (clean)"
    )
    parser.add_argument(
        "--exemplar",
        choices=[policy for policy in POLICIES if policy != "fixed"],
        default="random",
        help="as `exemplar` of a test set in option files; retrieved: out of the bank in the weights, if any (random)",
    )
    parser.add_argument("--limit", type=int, metavar="N", help="measure the first N pairs of each set only")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads(), help="of torch (%(default)s)")
    parser.add_argument("--markdown", type=Path, metavar="FILE", help="write the tables as GitHub markdown too")
    parser.add_argument(
        "--pictures",
        type=Path,
        metavar="DIR",
        help=f"write strips there, rainy | PReNet | ours | clean, of the first {STRIPS} pictures of each set",
    )
    return parser, parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> int:
    """Measure as the command line asks; return 1 if a pair was left out.

    Tables and files are written after each set, so that what comes later costs nothing of what is done.
    """
    parser, arguments = parse(argv)
    try:
        if arguments.limit is not None and arguments.limit < 1:
            raise ValueError(f"`--limit` must be at least 1, got {arguments.limit}.")
        sets = {
            name: PairedExemplarDataset(root=root, left=arguments.left, exemplar=arguments.exemplar)
            for name, root in named(arguments.sets, "SET=ROOT").items()
        }
        methods = [Method("rainy input")]
        methods += [peer(name, Path(file)) for name, file in named(arguments.peer, "`--peer`").items()]
        weights = named(arguments.weights, "`--weights`", bare=True)
        methods += [ours(name, weights_path(given), arguments.exemplar) for name, given in weights.items()]
        torch.set_num_threads(arguments.threads)
        loaded = {method: method.load and method.load() for method in methods}
    except (OSError, ValueError) as error:
        parser.error(str(error))

    about = f"{PROTOCOL}; exemplars of ours: {arguments.exemplar}; seconds: median of wall time"
    about += f", {arguments.threads} thread(s) of {harness.cpu_model()}; memory: peak of a fresh process"
    digests = {method.name: hashlib.sha256(method.file.read_bytes()).hexdigest() for method in methods if method.file}
    results: dict[str, dict] = {}
    texts: list[str] = []
    failed = False
    for name, dataset in sets.items():
        run = SetRun(dataset, loaded, arguments.pictures and arguments.pictures / name)
        for index in track(range(len(dataset))[: arguments.limit], name, console=Console(stderr=True)):
            run.add(index)
        for failure in run.failures:
            print(f"{name}: left out: {failure}", file=sys.stderr)
        failed = failed or bool(run.failures)
        if not run.count:
            continue
        rows = run.rows()
        title, table = f"{name}, {run.count} pairs", [cells(row) for row in rows]
        print_table(title, [(column, "right" if column != "method" else "left") for column in COLUMNS], table, [about])
        results[name] = {"pairs": run.count, "left_out": len(run.failures), "methods": [asdict(row) for row in rows]}
        harness.write_document("deraining", arguments.threads, protocol=about, sha256=digests, results=results)
        texts.append(f"{title}:\n\n{markdown_table([COLUMNS, *table])}\n")
        if arguments.markdown is not None:
            write_bytes_atomic(arguments.markdown, "\n".join([*texts, f"{about[0].upper()}{about[1:]}.\n"]).encode())
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
