"""Distillation of training pairs: list, describe, retrieve, judge, and one manifest (UniRain, CVPR 2026)."""

import dataclasses
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from msgnn_plugin.curation.describe import make_describer
from msgnn_plugin.curation.duplicates import drop_duplicates
from msgnn_plugin.curation.engine import run_units
from msgnn_plugin.curation.examine import Examiner, describe_references
from msgnn_plugin.curation.journal import open_journal
from msgnn_plugin.curation.judge import make_judges
from msgnn_plugin.curation.listing import list_pools
from msgnn_plugin.curation.manifest import all_decided, read_records, summarise, write_manifest
from msgnn_plugin.curation.retrieve import is_written, write_references
from msgnn_plugin.curation.settings import DistillSettings
from msgnn_plugin.data.atomic import write_bytes_atomic
from msgnn_plugin.data.lock import sole_use
from msgnn_plugin.data.photographs import find_photographs

MANIFEST, SUMMARY = "manifest.parquet", "summary.json"


@dataclass(frozen=True)
class Work:
    """How the work is spread; changes nothing in the manifest.

    Attributes:
        runner: "native", processes of this machine, or "ray".
        address: Of the Ray cluster; None starts one on this machine.
        jobs: Workers at a time.
    """

    runner: str = "native"
    address: str | None = None
    jobs: int = 1


def distill(
    pools: Sequence[str | Path],
    reference: str | Path | None,
    out: str | Path,
    settings: DistillSettings,
    *,
    work: Work | None = None,
    unit: int = 64,
    left: str = "clean",
    on_stage: Callable[[str, int], None] = lambda what, total: None,
    on_done: Callable[[int], None] = lambda count: None,
    on_bad: Callable[[str], None] = lambda sentence: None,
) -> dict[str, Any]:
    """Judge every pair of the pools and write ``out/manifest.parquet``, which `find_pairs` reads.

    A run that was killed goes on when it is called again with the same pools and settings: pairs whose record was
    written are not judged again. Pairs that judges gave no answer on are. Everything else stays as it is, so that a
    run after a finished one changes nothing.

    Args:
        pools: Folders of sets in any layout that `find_pairs` knows, or Parquet lists of pairs.
        reference: Folder of real rainy pictures, at any depth; not looked at if ``settings.text_nearest`` is 0.
        out: Folder to write; ``out/work`` holds what a later call goes on from.
        settings: What decides.
        work: How the work is spread.
        unit: Pairs a unit of work.
        left: Left half of one-file pairs, "clean" or "rainy".
        on_stage: Called when a stretch of work begins, with what it is and how many pictures it treats.
        on_done: Called with a number of pictures that are done.
        on_bad: Called with a sentence about a picture that cannot be used.

    Returns:
        What `summarise` counts, with ``bad``, the number of sentences that ``on_bad`` was called with.

    Raises:
        FileNotFoundError: If a folder is missing or empty.
        ValueError: If ``out`` holds another run, or a setting is out of its range.
        RuntimeError: If another command works on ``out``.
    """
    out, work, bad = Path(out), work or Work(), 0
    if unit < 1:
        raise ValueError(f"distill: `--unit` must be at least 1, got {unit}.")
    if settings.text_nearest and reference is None:
        raise ValueError(
            "distill: `--reference` must name a folder of real rain, got none; `text_nearest: 0` needs none."
        )
    busy = f"distill: `-o` must be one command's at a time, got {out} with another at work."
    with sole_use(out / "work" / "lock", busy):
        make_judges(settings.judges, settings.limits)  # A slip is told before hours of work.
        facts = _facts(pools, reference, settings, left)
        _claim(out, facts)
        listing = list_pools(pools, out / "work" / "pairs", unit=unit, left=left)
        for path in listing.alone:
            on_bad(f"{path}: must have a partner, got none.")
        database = out / "work" / "reference"
        if settings.text_nearest:
            unusable = _prepare_references(Path(reference), database, settings, work, unit, on_stage, on_done)
            for sentence in unusable:
                on_bad(sentence)
            bad += len(unusable)
        judged = out / "work" / "judged"
        units = [(path, judged / path.name) for path in listing.units]
        open_units = [(str(path), str(result)) for path, result in units if not _is_decided(result)]
        if open_units or not (out / MANIFEST).is_file():
            on_stage("Judging", len(open_units) * unit)
            make_worker = partial(_make_worker, settings, database)
            gpus = float(str(settings.describer.get("device", "")).startswith("cuda"))
            spread = dataclasses.asdict(work)
            for count in run_units(make_worker, open_units, gpus=gpus, **spread):
                on_done(count)
            on_stage("Writing the manifest", listing.count)
            records = _tell(map(read_records, (result for _, result in units)), on_done)
            if settings.duplicates:
                records = drop_duplicates(records, out / "work" / "hashes.sqlite")
            write_manifest(out / MANIFEST, records, facts)
            write_bytes_atomic(out / SUMMARY, json.dumps(summarise(out / MANIFEST), indent=1).encode())
        return json.loads((out / SUMMARY).read_bytes()) | {"bad": bad + len(listing.alone)}


def _facts(
    pools: Sequence[str | Path], reference: str | Path | None, settings: DistillSettings, left: str
) -> dict[str, Any]:
    """Return what a manifest follows from, as JSON has it."""
    places = {"pools": [str(Path(pool).absolute()) for pool in pools], "left": left}
    if settings.text_nearest:
        places["reference"] = str(Path(reference).absolute())
    return json.loads(json.dumps({**places, **dataclasses.asdict(settings)}))


def _claim(out: Path, facts: dict[str, Any]) -> None:
    """Write down what this run follows from, or see that an earlier one followed from the same."""
    file = out / "work" / "settings.json"
    if not file.is_file():
        write_bytes_atomic(file, json.dumps(facts).encode())
        return
    known = json.loads(file.read_bytes())
    changed = sorted(key for key in facts.keys() | known.keys() if facts.get(key) != known.get(key))
    if changed:
        raise ValueError(
            f"distill: `-o` must be a new folder or hold a run with the same {changed[0]}, got {known.get(changed[0])} "
            f"in {out} and now {facts.get(changed[0])}."
        )


def _make_worker(settings: DistillSettings, database: Path) -> Callable[[str, str], int]:
    examiner = Examiner(settings, database)
    return lambda unit, out: examiner.examine(Path(unit), Path(out))


def _is_decided(result: Path) -> bool:
    """Whether a unit is done; one with pairs that no verdict was reached on is opened again for those."""
    if not result.is_file():
        return False
    if all_decided(result):
        return True
    rows = read_records(result)
    with open_journal(result.with_suffix(".jsonl")) as journal:
        for row in rows:
            if row["decided"] and row["number"] not in journal.known:
                journal.add(row)
        result.unlink()
    return False


def _tell(units: Iterator[list[dict[str, Any]]], on_done: Callable[[int], None]) -> Iterator[list[dict[str, Any]]]:
    for rows in units:
        yield rows
        on_done(len(rows))


def _prepare_references(
    folder: Path,
    database: Path,
    settings: DistillSettings,
    work: Work,
    unit: int,
    on_stage: Callable[[str, int], None],
    on_done: Callable[[int], None],
) -> list[str]:
    """Describe the real pictures, once; return what is wrong with those that cannot be used."""
    bad = database / "bad.json"
    if not is_written(database):
        paths = [str(path.absolute()) for path in find_photographs(folder)]
        blocks = {}
        for start in range(0, len(paths), unit):
            listed = database / "parts" / f"{start:08d}.json"
            write_bytes_atomic(listed, json.dumps(paths[start : start + unit]).encode())
            blocks[listed] = listed.with_suffix(".npz")
        on_stage("Describing real rain", len(paths))
        left = [(str(listed), str(part)) for listed, part in blocks.items() if not part.is_file()]
        make_worker = partial(_make_reference_worker, settings.describer)
        for count in run_units(make_worker, left, **dataclasses.asdict(work)):
            on_done(count)
        parts = []
        for part in blocks.values():
            with np.load(part, allow_pickle=False) as content:
                parts.append({name: content[name] for name in content.files})
        sentences = [str(sentence) for part in parts for sentence in part["bad"]]
        whole = [part for part in parts if len(part["paths"])]
        if not whole:
            raise ValueError(f"distill: `--reference` must hold a picture that can be read, got {folder} without.")
        write_bytes_atomic(bad, json.dumps(sentences).encode())
        joined = {name: np.concatenate([part[name] for part in whole]) for name in whole[0] if name != "bad"}
        write_references(database, joined["paths"].tolist(), joined["text"], joined["feature"], joined["structure"])
    return json.loads(bad.read_bytes())


def _make_reference_worker(describer: dict[str, Any]) -> Callable[[str, str], int]:
    make_describer(describer)  # Loads a network once; a unit then finds it loaded.

    def treat(listed: str, part: str) -> int:
        paths = json.loads(Path(listed).read_bytes())
        describe_references(describer, paths, Path(part))
        return len(paths)

    return treat
