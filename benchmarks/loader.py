"""Reading training samples: files as published, an LMDB of each form, and BasicSR's own data set on the first form.

Run with ``python -m benchmarks.loader --root datasets/rain800/train``; the temporary folder must have room for twice
the unpacked set. Before anything is timed, samples of all copies are compared bit by bit. The first table is
``dataset[i]`` alone in one process; its memory counts what is mapped of an LMDB. The second is a loader with workers,
three epochs in a fresh process: what it delivers beside what the training step uses up, and the anonymous memory of
all its processes together after each epoch (Linux' ``Pss_Anon``: shared pages counted once, pages of mapped files not
counted, because the system takes them back at need and would show the set's size as growth).
"""

import importlib.util
import multiprocessing
import os
import re
import shutil
import statistics
import sys
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path

import cv2
import lmdb
import torch
from rich.console import Console
from rich.table import Table
from torch.utils.data import DataLoader, Dataset

from benchmarks import harness, network
from msgnn_plugin.data import PairedExemplarDataset, find_pairs
from msgnn_plugin.data.lmdb_store import name_of_key
from msgnn_plugin.data.lmdb_writer import SIDES, build_lmdb

CROP, BATCH, WORKERS, EPOCHS = 64, 8, 2, 3
# Every so many samples are compared, as many fewer whole pictures.
COMPARED, COMPARED_WHOLE = 5, 50


def open_set(root: Path, crop_size: int | None = CROP) -> tuple[PairedExemplarDataset]:
    """Return the data set of a copy as training opens it."""
    cv2.setNumThreads(1)
    return (PairedExemplarDataset(root=root, crop_size=crop_size, flip=True),)


def open_basicsr(root: Path) -> tuple[Dataset]:
    """Return BasicSR's own data set, which reads the same pairs without an exemplar."""
    from msgnn_plugin.adapters.basicsr import compat

    compat.apply()
    from basicsr.data.paired_image_dataset import PairedImageDataset

    cv2.setNumThreads(1)
    options = {
        "dataroot_lq": str(root / "lq.lmdb"),
        "dataroot_gt": str(root / "gt.lmdb"),
        "io_backend": {"type": "lmdb"},
    }
    return (
        PairedImageDataset(
            {**options, "phase": "train", "scale": 1, "gt_size": CROP, "use_hflip": True, "use_rot": False}
        ),
    )


def read(count: int, dataset: Dataset) -> None:
    """Read so many samples, spread over the whole set."""
    for place in range(count):
        dataset[place * len(dataset) // count]


def load(contender: harness.Contender) -> list[tuple[float, float]]:
    """Return seconds and MiB of every epoch through a loader; belongs into a process of its own."""
    (dataset,) = contender.prepare()
    # As Linux starts workers by default; here, in a spawned process, they would be spawned too.
    loader = DataLoader(
        dataset, BATCH, shuffle=True, num_workers=WORKERS, persistent_workers=True, multiprocessing_context="fork"
    )
    epochs = []
    for _ in range(EPOCHS):
        start = time.perf_counter()
        for _ in loader:
            pass
        seconds = time.perf_counter() - start
        processes = [os.getpid(), *(worker.pid for worker in multiprocessing.active_children())]
        epochs.append((seconds, sum(map(anonymous_mebibytes, processes))))
    return epochs


def anonymous_mebibytes(process: int) -> float:
    """Return a process's share of anonymous memory; not a number where the system does not tell."""
    table = Path(f"/proc/{process}/smaps_rollup")
    found = re.search(r"^Pss_Anon:\s*(\d+) kB", table.read_text(), re.MULTILINE) if table.exists() else None
    return int(found[1]) * 1024 / harness.MEBIBYTE if found else float("nan")


def make_copies(root: Path, folder: Path) -> dict[str, Path]:
    """Write lossless copies of a set; return their folders."""
    pairs = find_pairs(root)
    for form in ("png", "raw"):
        if build_lmdb(pairs, folder / form, form=form, on_bad=print):
            sys.exit("benchmarks.loader: every picture of the set must be readable.")
    # LMDB opens a file once a process, and BasicSR opens its own.
    shutil.copytree(folder / "png", folder / "basicsr")
    for side, name in zip(SIDES, ("rainy", "clean"), strict=True):
        (folder / "files" / name).mkdir(parents=True)
        with lmdb.open(str(folder / "png" / f"{side}.lmdb"), readonly=True, lock=False) as environment:
            for key, value in environment.begin().cursor():
                (folder / "files" / name / f"{name_of_key(key.decode())}.png").write_bytes(value)
    return {name: folder / name for name in ("files", "png", "raw", "basicsr")}


def compare(roots: list[Path]) -> int:
    """Stop unless all copies give the same bits; return how many samples were compared."""
    compared = 0
    for crop_size, step in ((CROP, COMPARED), (None, COMPARED_WHOLE)):
        first, *others = (open_set(root, crop_size)[0] for root in roots)
        for index in range(0, len(first), step):
            sample = first[index]
            for other, root in zip(others, roots[1:], strict=True):
                copy = other[index]
                if not all(torch.equal(sample[key], copy[key]) for key in ("lq", "gt", "exemplar")):
                    sys.exit(f"benchmarks.loader: sample {index} of {root.name} must equal that of the files.")
            compared += 1
    return compared


def measure_step() -> float:
    """Return the seconds of the default network's training step on this processor."""
    inputs = network.build("paper", network.STEP)
    seconds = []
    for _ in range(4):
        start = time.perf_counter()
        network.run(*inputs, train=True, low=False, plain=False)
        seconds.append(time.perf_counter() - start)
    return statistics.median(seconds[1:])  # the first is the warm-up


def measure_loader(contenders: list[harness.Contender], samples: int, step: float) -> list[dict]:
    """Run every contender's loader in a fresh process; return a row each."""
    rows: list[dict] = []
    for contender in contenders:
        with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
            epochs = pool.submit(load, contender).result()
        rate = samples / statistics.median(seconds for seconds, _ in epochs[1:])  # the first starts the workers
        row = {"contender": contender.name, "samples_per_second": rate}
        row["ratio"] = rate / rows[0]["samples_per_second"] if rows else 1.0
        row["ratio_to_training"] = rate * step / BATCH
        row["shortest_step_fed_1.5_times"] = 1.5 * BATCH / rate
        row["anonymous_mib"] = [mebibytes for _, mebibytes in epochs]
        rows.append(row)
    return rows


def print_loader(rows: list[dict], step: float) -> None:
    """Print the second table."""
    table = Table(title=f"loader, {WORKERS} workers; the training step takes {step:.2f} s for {BATCH} samples")
    table.add_column("contender")
    for column in ("samples/s", "x", "x training", *(f"MiB, epoch {number + 1}" for number in range(EPOCHS))):
        table.add_column(column, justify="right")
    for row in rows:
        numbers = (row["samples_per_second"], row["ratio"], row["ratio_to_training"])
        memory = (f"{mebibytes:.0f}" for mebibytes in row["anonymous_mib"])
        table.add_row(row["contender"], *(f"{number:.1f}" for number in numbers), *memory)
    Console(width=None if os.isatty(1) else 140).print(table)


def main() -> None:
    """Build the copies, compare, measure, print both tables and write the file."""
    parser = harness.make_parser("loader", rounds=3)
    parser.add_argument("--root", type=Path, default=Path("datasets/rain800/train"), help="the set (%(default)s)")
    parser.add_argument("--samples", type=int, default=200, help="read in each round, of all pairs (%(default)s)")
    parser.add_argument("--step-seconds", type=float, help="of a training step with 8 samples (measured)")
    arguments = harness.parse(parser)
    step = arguments.step_seconds or measure_step()
    with tempfile.TemporaryDirectory() as folder:
        copies = make_copies(arguments.root, Path(folder))
        compared = compare([arguments.root, copies["files"], copies["png"], copies["raw"]])
        samples = len(open_set(arguments.root)[0])
        count = min(arguments.samples, samples)
        read_some = partial(read, count)
        contenders = [
            harness.Contender("files as published", partial(open_set, arguments.root), read_some),
            harness.Contender("PNG LMDB", partial(open_set, copies["png"]), read_some),
            harness.Contender("raw LMDB", partial(open_set, copies["raw"]), read_some),
        ]
        if importlib.util.find_spec("basicsr"):
            stock = harness.Contender(
                "BasicSR, PNG LMDB, no exemplar", partial(open_basicsr, copies["basicsr"]), read_some
            )
            contenders.append(stock)
        # Without brackets, which the table would take for markup.
        job = f"dataset, {count} samples"
        rows = harness.measure(job, contenders, arguments.rounds)
        harness.print_table(rows, f"loader: {harness.cpu_model()}, {CROP}x{CROP} crops, one process")
        # Without BasicSR's own, which has no exemplar.
        loader_rows = measure_loader(contenders[:3], samples, step)
    print_loader(loader_rows, step)
    shapes = {
        "set": "/".join(arguments.root.parts[-2:]),
        "pairs": samples,
        "samples": count,
        "crop": CROP,
        "batch": BATCH,
        "workers": WORKERS,
    }
    loader = {"training_step_seconds": step, "step_given": arguments.step_seconds is not None, "results": loader_rows}
    harness.write("loader", rows, {**shapes, "identical_samples": compared}, arguments, loader=loader)


if __name__ == "__main__":
    main()
