"""What the embedded judges of `basicsr distill` reject of a pool with planted faults. Needs the extra [distill].

    python -m benchmarks.distillation --sets RAIN800/train RAIN100L --photographs BSDS500 --reference REAL --part 0

Pairs with even numbers are part 0, on which the limits were set; those with odd numbers are part 1.
"""

import argparse
import tempfile
from collections import Counter
from pathlib import Path

import numpy as np
from pyarrow import parquet

from benchmarks.planted import FAULTS, Sides, write_pool
from msgnn_plugin.curation.pipeline import MANIFEST, Work, distill
from msgnn_plugin.curation.settings import DistillSettings
from msgnn_plugin.data.layouts import find_pairs
from msgnn_plugin.data.photographs import find_photographs, read_photograph
from msgnn_plugin.data.reading import PictureReader
from msgnn_plugin.data.synthesis import synthesize

PRESETS = (
    *("rain200h", "rain200l", "rain1200_light", "rain1200_medium", "rain1200_heavy", "rain1400"),
    *("drs", "drd", "nrs", "nrd"),
)


def collect(args: argparse.Namespace) -> list[tuple[str, Sides]]:
    """Return pairs of the sets and pairs made to order, in an order drawn at random."""
    rng = np.random.default_rng(args.part)
    found: list[tuple[str, Sides]] = []
    reader = PictureReader()
    for root in args.sets:
        pairs = find_pairs(root)[args.part :: 2]
        kind = Path(root).parent.name if Path(root).name in ("train", "test") else Path(root).name
        for place in rng.permutation(len(pairs))[: args.count]:
            found.append((kind, reader.read_pair(pairs[place])))
    if args.photographs:
        paths = find_photographs(args.photographs)[args.part :: 2]
        for number, place in enumerate(rng.permutation(len(paths))[: args.count]):
            preset = PRESETS[number % len(PRESETS)]
            made = synthesize(read_photograph(paths[place]), preset, rng)
            found.append((preset, (made.rainy, made.clean)))
    return [found[place] for place in rng.permutation(len(found))]


def report(manifest: Path) -> None:
    """Print precision and recall, recall by fault, and what is wrong by kind of pair."""
    rows = parquet.read_table(manifest, columns=["name", "kept", "reason"]).to_pylist()
    counts: Counter[tuple[str, bool]] = Counter()
    wrong = []
    for row in rows:
        fault = row["name"].split("_")[1]
        counts[fault, row["kept"]] += 1
        if row["kept"] != (fault == "good"):
            wrong.append(f"{row['name']}: {row['reason'] or 'kept'}")
    rejected = sum(counts[fault, False] for fault in FAULTS)
    planted = rejected + sum(counts[fault, True] for fault in FAULTS)
    print(f"recall {rejected}/{planted} = {rejected / planted:.3f}")
    total = rejected + counts["good", False]
    print(f"precision {rejected}/{total} = {rejected / total:.3f}")
    for fault in ("good", *FAULTS):
        print(f"{fault:9s} rejected {counts[fault, False]:3d} of {counts[fault, False] + counts[fault, True]:3d}")
    print(*wrong, sep="\n")


def main() -> None:
    """Make the pool, distil it, report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sets", nargs="*", default=[], help="folders of pairs")
    parser.add_argument("--photographs", help="folder of clean photographs, for rain made to order")
    parser.add_argument("--reference", required=True, help="folder of real rain")
    parser.add_argument("--count", type=int, default=80, help="most pairs of each")
    parser.add_argument("--part", type=int, choices=(0, 1), default=1)
    parser.add_argument("--jobs", type=int, default=1)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        pool, out = Path(folder) / "pool", Path(folder) / "out"
        write_pool(pool, collect(args), args.part)
        distill([pool], args.reference, out, DistillSettings(), work=Work(jobs=args.jobs))
        report(out / MANIFEST)


if __name__ == "__main__":
    main()
