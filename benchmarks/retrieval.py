"""The first level of retrieval at 10^4 to 10^6 references: flat index against inverted file. Needs [distill].

    python -m benchmarks.retrieval --sizes 10000 100000 1000000

Each row runs in a fresh process, one query at a time on one core, as a worker of `basicsr distill` asks. The vectors
have as many numbers as CLIP's embeddings and lie in clusters, of unit length: a thousand captions, each said in many
ways. Queries are such vectors too. Recall is the share of the flat index's 64 nearest that the inverted file finds.
"""

import argparse
import json
import multiprocessing
import resource
import tempfile
import time
from pathlib import Path

import faiss
import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from benchmarks.harness import RESULTS, cpu_model, machine_name
from msgnn_plugin.curation.retrieve import make_index

CLUSTERS, SPREAD, QUERIES, NEAREST = 1000, 0.6, 200, 64


def vectors(count: int, size: int, seed: int) -> NDArray[np.float32]:
    """Return made-up embeddings, (count, size), of length 1."""
    centres = np.random.default_rng(0).standard_normal((CLUSTERS, size), np.float32)
    rng = np.random.default_rng(seed)
    values = np.empty((count, size), np.float32)
    for start in range(0, count, 16384):
        block = values[start : start + 16384]
        block[:] = centres[rng.integers(CLUSTERS, size=len(block))]
        block += SPREAD * rng.standard_normal(block.shape, np.float32)
        block /= np.linalg.norm(block, axis=1, keepdims=True)
    return values


def measure(count: int, size: int, kind: str, folder: str) -> dict[str, float]:
    """Build one index, write it, search it as workers do, and return what that took."""
    faiss.omp_set_num_threads(1)
    data, queries = vectors(count, size, 1), vectors(QUERIES, size, 2)
    begin = time.process_time()
    index = make_index(data, flat_limit=count if kind == "flat" else 0)
    built = time.process_time() - begin
    del data
    file = f"{folder}/{kind}.faiss"
    faiss.write_index(index, file)
    begin = time.process_time()
    found = np.concatenate([index.search(query[None], NEAREST)[1] for query in queries])
    asked = (time.process_time() - begin) / QUERIES
    np.save(f"{folder}/{kind}.npy", found)
    return {
        "build_s": built,
        "query_ms": asked * 1000,
        "index_mib": Path(file).stat().st_size / 2**20,
        "peak_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10,
    }


def main() -> None:
    """Measure, print the table, write the JSON file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", type=int, nargs="+", default=[10_000, 100_000])
    parser.add_argument("--dimension", type=int, default=512)
    args = parser.parse_args()
    rows = []
    for count in args.sizes:
        with tempfile.TemporaryDirectory() as folder:
            for kind in ("flat", "ivf"):
                with multiprocessing.get_context("spawn").Pool(1) as pool:
                    row = pool.apply(measure, (count, args.dimension, kind, folder))
                wanted, found = (np.load(f"{folder}/{name}.npy") for name in ("flat", kind))
                shared = np.mean([len(set(a) & set(b)) / NEAREST for a, b in zip(wanted, found, strict=True)])
                rows.append({"references": count, "index": kind, **row, "recall": float(shared)})
    table = Table(*rows[0])
    for row in rows:
        table.add_row(*(f"{value:.4g}" if isinstance(value, float) else str(value) for value in row.values()))
    Console().print(table)
    RESULTS.mkdir(exist_ok=True)
    facts = {"benchmark": "retrieval", "cpu": cpu_model(), "threads": 1, "dimension": args.dimension, "results": rows}
    (RESULTS / f"retrieval-{machine_name()}.json").write_text(json.dumps(facts, indent=1) + "\n")


if __name__ == "__main__":
    main()
