"""What every benchmark shares: alternating timing in one process, memory in a fresh one, one table, one JSON file."""

import argparse
import json
import multiprocessing
import multiprocessing.connection
import os
import platform
import re
import resource
import statistics
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from rich.console import Console
from rich.table import Table

from msgnn_plugin import _extension
from msgnn_plugin.adapters.basicsr.hardware import cpu_model

RESULTS = Path(__file__).parent / "results"
MEBIBYTE = 2**20


@dataclass(frozen=True)
class Contender:
    """One way to do a job. Both functions go to a fresh process by name: module-level, or `functools.partial` of such.

    Attributes:
        name: What the table calls it.
        prepare: Makes the inputs, untimed.
        run: What is measured; takes the inputs as arguments, and its result is thrown away.
    """

    name: str
    prepare: Callable[[], tuple]
    run: Callable[..., object]


@dataclass(frozen=True)
class Measurement:
    """Seconds and MiB of one contender; ratios are the first contender's time over this one's: above 1 is faster."""

    job: str
    contender: str
    wall_median: float
    cpu_least: float
    ratio_wall: float
    ratio_cpu: float
    peak_mib: float
    extra_mib: float


def main(name: str, jobs: dict[str, list[Contender]], shapes: dict[str, object], rounds: int = 7) -> list[Measurement]:
    """Measure all jobs as the command line asks, print the table, write the JSON file.

    Args:
        name: The benchmark's name, which begins the JSON file's.
        jobs: Contenders of each job; the first is the baseline of the ratios.
        shapes: Sizes and settings, written down as they are.
        rounds: Timed rounds unless the command line says otherwise.

    Returns:
        One row a contender and job, in the order given.
    """
    arguments = parse(make_parser(name, rounds))
    rows = [row for job, contenders in jobs.items() for row in measure(job, contenders, arguments.rounds)]
    print_table(rows, f"{name}: {cpu_model()}, {arguments.threads} threads")
    write(name, rows, shapes, arguments)
    return rows


def make_parser(name: str, rounds: int) -> argparse.ArgumentParser:
    """Return the command line that every benchmark has."""
    parser = argparse.ArgumentParser(prog=f"python -m benchmarks.{name}")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads(), help="of torch (%(default)s)")
    parser.add_argument("--rounds", type=int, default=rounds, help="timed runs of each contender (%(default)s)")
    return parser


def parse(parser: argparse.ArgumentParser) -> argparse.Namespace:
    """Read the command line and set torch's threads."""
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    return arguments


def write(
    name: str, rows: list[Measurement], shapes: dict[str, object], arguments: argparse.Namespace, **more: object
) -> None:
    """Write the rows, what they were measured on, and ``more`` as it is to ``results/NAME-MACHINE.json``."""
    protocol = (
        f"one warm-up, then {arguments.rounds} rounds in which the contenders alternate in one process; median of "
        "wall time, least CPU time of the process; memory: resident set of a fresh process each, at its peak, and "
        "above what it was before the first run"
    )
    results = [asdict(row) for row in rows]
    write_document(name, arguments.threads, shapes=shapes, protocol=protocol, results=results, **more)


def write_document(name: str, threads: int, **content: object) -> None:
    """Write facts of the machine and ``content`` as it is to ``results/NAME-MACHINE.json``."""
    facts = {
        "benchmark": name,
        "machine": {"cpu": cpu_model(), "cores": os.cpu_count(), "capability": torch.backends.cpu.get_cpu_capability()},
        "torch": torch.__version__,
        "compiled_ops": _extension.status(),
        "threads": threads,
        "load_average": os.getloadavg()[0],
    }
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / f"{name}-{machine_name()}.json"
    path.write_text(json.dumps({**facts, **content}, indent=2) + "\n")


def measure(job: str, contenders: list[Contender], rounds: int) -> list[Measurement]:
    """Time the contenders in turn, round by round, so that a disturbance meets them all; then weigh each by itself."""
    inputs = [contender.prepare() for contender in contenders]
    wall: list[list[float]] = [[] for _ in contenders]
    cpu: list[list[float]] = [[] for _ in contenders]
    for number in range(rounds + 1):
        for i, contender in enumerate(contenders):
            wall_start, cpu_start = time.perf_counter(), time.process_time()
            contender.run(*inputs[i])
            if number > 0:  # the first is the warm-up
                cpu[i].append(time.process_time() - cpu_start)
                wall[i].append(time.perf_counter() - wall_start)
    del inputs
    walls, cpus = [statistics.median(times) for times in wall], [min(times) for times in cpu]
    memory = [fresh_process_memory(contender) for contender in contenders]
    return [
        Measurement(job, contender.name, walls[i], cpus[i], walls[0] / walls[i], cpus[0] / cpus[i], *memory[i])
        for i, contender in enumerate(contenders)
    ]


def fresh_process_memory(contender: Contender) -> tuple[float, float]:
    """Run a contender twice in a new process; return its peak resident set and what of it the runs added, in MiB."""
    context = multiprocessing.get_context("spawn")
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=_run_and_weigh, args=(contender, torch.get_num_threads(), sender))
    process.start()
    sender.close()
    try:
        return receiver.recv()
    except EOFError as error:
        raise RuntimeError(f"benchmarks: `{contender.name}` must finish in a fresh process, but it died.") from error
    finally:
        process.join()


def _run_and_weigh(contender: Contender, threads: int, sender: multiprocessing.connection.Connection) -> None:
    torch.set_num_threads(threads)
    inputs = contender.prepare()
    before = _resident("VmRSS")
    # Forgets the peak of preparing. Where that is not offered, preparing counts too.
    if os.access("/proc/self/clear_refs", os.W_OK):
        Path("/proc/self/clear_refs").write_text("5")
    for _ in range(2):
        contender.run(*inputs)
    peak = _resident("VmHWM")
    sender.send((peak, peak - before))


def _resident(field: str) -> float:
    """Return a size out of Linux's process table in MiB; elsewhere `getrusage`'s peak.

    On Linux `getrusage` would not do: a new process begins with its parent's peak.
    """
    status = Path("/proc/self/status")
    if status.exists():
        return int(re.search(rf"^{field}:\s*(\d+) kB", status.read_text(), re.MULTILINE)[1]) * 1024 / MEBIBYTE
    unit = 1 if platform.system() == "Darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / MEBIBYTE


def print_table(rows: list[Measurement], title: str) -> None:
    """Print one table of all jobs."""
    table = Table(title=title)
    for column in ("job", "contender"):
        table.add_column(column)
    for column in ("wall ms", "CPU ms", "x wall", "x CPU", "peak MiB", "extra MiB"):
        table.add_column(column, justify="right")
    job = None
    for row in rows:
        if job not in (None, row.job):
            table.add_section()
        times = [f"{1000 * seconds:.1f}" for seconds in (row.wall_median, row.cpu_least)]
        ratios = [f"{ratio:.2f}" for ratio in (row.ratio_wall, row.ratio_cpu)]
        memory = [f"{mebibytes:.0f}" for mebibytes in (row.peak_mib, row.extra_mib)]
        table.add_row("" if row.job == job else row.job, row.contender, *times, *ratios, *memory)
        job = row.job
    Console(width=None if os.isatty(1) else 140).print(table)


def machine_name() -> str:
    """Return the processor and its cores as a part of a file's name."""
    return re.sub(r"[^a-z0-9]+", "-", f"{cpu_model()} {os.cpu_count()} cores".lower()).strip("-")
