"""The data engine: Daft spreads units of work over the processes of this machine or over a Ray cluster."""

import os
from collections.abc import Callable, Iterator
from typing import Any

RUNNERS = ("native", "ray")


def run_units(
    make_worker: Callable[[], Callable[[str, str], int]],
    units: list[tuple[str, str]],
    *,
    runner: str,
    address: str | None,
    jobs: int,
    gpus: float = 0,
) -> Iterator[int]:
    """Give every unit to a worker, in any order.

    What a worker finds goes to files, so that only paths travel; on a cluster all machines must see them.

    Args:
        make_worker: Called once in each worker's process; what it returns treats one unit (input, output) and returns
            a count.
        units: The units.
        runner: "native" or "ray".
        address: Of the Ray cluster; None starts one on this machine, or takes the one that RAY_ADDRESS names.
        jobs: Most workers at a time.
        gpus: GPUs a worker.

    Yields:
        The counts, as units are done.

    Raises:
        ImportError: If the engine is missing.
        ValueError: If the runner is unknown.
    """
    if runner not in RUNNERS:
        raise ValueError(f"distill: `--runner` must be one of {', '.join(RUNNERS)}, got {runner!r}.")
    if not units:
        return
    os.environ.setdefault("DAFT_PROGRESS_BAR", "0")  # The command draws its own.
    daft = _import(runner)
    if runner == "ray":
        daft.set_runner_ray(address, noop_if_initialized=True)
    elif daft.get_or_infer_runner_type() != "native":
        daft.set_runner_native()

    class Worker:
        def __init__(self) -> None:
            self.work = make_worker()

        @daft.method(return_dtype=daft.DataType.int64())
        def treat(self, unit: str, out: str) -> int:
            return self.work(unit, out)

    worker: Any = daft.cls(Worker, max_concurrency=jobs, use_process=True, gpus=gpus)()
    inputs, outputs = zip(*units, strict=True)
    frame = daft.from_pydict({"unit": list(inputs), "out": list(outputs)})
    # One unit a batch: a worker that is done takes the next, and none waits for a neighbour's.
    frame = frame.into_partitions(min(len(units), jobs)) if runner == "ray" else frame
    frame = frame.into_batches(1).select(worker.treat(daft.col("unit"), daft.col("out")).alias("count"))
    for row in frame.iter_rows(results_buffer_size=jobs):
        yield row["count"]


def _import(runner: str) -> Any:
    try:
        import daft

        if runner == "ray":
            import ray  # noqa: F401
    except ImportError as error:
        extra = "distill" if runner == "native" else "distill-ray"
        raise ImportError(
            f"distill: `--runner` {runner} must find its engine, got {error}. Install msgnn_plugin[{extra}]."
        ) from error
    return daft
