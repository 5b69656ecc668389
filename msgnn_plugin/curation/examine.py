"""One unit of work: its pairs described, compared with real rain and judged, one record a pair."""

from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from itertools import islice
from pathlib import Path
from typing import Any

import cv2
import faiss
import numpy as np
from numpy.typing import NDArray
from pyarrow import parquet

from msgnn_plugin.curation.describe import make_describer
from msgnn_plugin.curation.duplicates import hash_background, hash_rain
from msgnn_plugin.curation.journal import open_journal
from msgnn_plugin.curation.judge import Case, Judge, make_judges
from msgnn_plugin.curation.manifest import picture_of, write_records
from msgnn_plugin.curation.retrieve import References, as_structure
from msgnn_plugin.curation.settings import DistillSettings
from msgnn_plugin.curation.vote import Verdict, decide
from msgnn_plugin.data.atomic import atomic_path
from msgnn_plugin.data.pairs import Pair
from msgnn_plugin.data.photographs import read_photograph
from msgnn_plugin.data.reading import PictureReader

# Pictures that are in memory at a time: networks are faster on several, and judges that are asked over a network wait
# for several answers at once.
_BATCH = 4


class Examiner:
    """Examines units; each worker has one, so that networks are loaded once.

    Args:
        settings: What decides.
        references: Folder of the database, see `write_references`.
    """

    def __init__(self, settings: DistillSettings, references: Path) -> None:
        # Workers share the machine: each keeps to one core.
        cv2.setNumThreads(1)
        faiss.omp_set_num_threads(1)
        self.describer = make_describer(settings.describer)
        self.judges = make_judges(settings.judges, settings.limits)
        self.references = (
            References(
                references,
                text_nearest=settings.text_nearest,
                feature_nearest=settings.feature_nearest,
                image_nearest=settings.image_nearest,
            )
            if settings.text_nearest
            else None
        )
        self.reader = PictureReader()
        calls = sum(getattr(judge, "concurrency", 0) for judge in self.judges)
        self.pool = ThreadPoolExecutor(calls) if calls else None

    def examine(self, unit: Path, out: Path) -> int:
        """Examine the pairs of a unit that are not yet, and write what came of all of them.

        Args:
            unit: Its list of pairs.
            out: File of the records; its journal lies beside it until the file is written.

        Returns:
            How many pairs were examined now.
        """
        with open_journal(out.with_suffix(".jsonl")) as journal:
            examined = 0
            if not out.is_file():
                rows = parquet.read_table(unit).to_pylist()
                for record in self._records(row for row in rows if row["number"] not in journal.known):
                    journal.add(record)
                    examined += 1
                write_records(out, [row | journal.known[row["number"]] for row in rows])
            out.with_suffix(".jsonl").unlink(missing_ok=True)
        return examined

    def _records(self, rows: Iterable[dict[str, Any]]) -> Iterator[dict[str, Any]]:
        rows = iter(rows)
        while batch := list(islice(rows, _BATCH)):
            pictures = [self._read(row) for row in batch]
            readable = [pair[0] for pair in pictures if not isinstance(pair, str)]
            descriptions = iter(self.describer(readable) if readable else [])
            cases: list[Case | str] = []
            for row, pair in zip(batch, pictures, strict=True):
                if isinstance(pair, str):
                    cases.append(pair)
                    continue
                description, found, spacing = next(descriptions), [], 0.0
                if self.references is not None:
                    found, spacing = self.references.search(description, pair[0]), self.references.spacing
                cases.append(Case(*pair, description, found, spacing, row["night"]))
            # All questions of a batch are on their way before the first answer is waited for.
            asked = [
                [] if isinstance(case, str) else [self._ask(judge, case) for judge in self.judges] for case in cases
            ]
            for row, case, answers in zip(batch, cases, asked, strict=True):
                yield {"number": row["number"], **_conclude(case, [answer() for answer in answers])}

    def _ask(self, judge: Judge, case: Case) -> Any:
        """Return a function that waits for the verdict."""
        if self.pool is None or not hasattr(judge, "concurrency"):
            return lambda: judge(case)
        return self.pool.submit(judge, case).result

    def _read(self, row: dict[str, Any]) -> tuple[NDArray[np.uint8], NDArray[np.uint8]] | str:
        """Return both sides as RGB, uint8, or why that cannot be."""
        pair = Pair(row["name"], picture_of(row, "rainy"), picture_of(row, "clean"))
        try:
            rainy, clean = self.reader.read_pair(pair)
        except (OSError, ValueError) as error:
            return f"unreadable: {error}"
        if min(rainy.shape[:2]) < 16:
            return f"too small: {rainy.shape[1]}x{rainy.shape[0]} pixels"
        return tuple(
            np.ascontiguousarray(image if image.dtype == np.uint8 else (image >> 8).astype(np.uint8))
            for image in (rainy, clean)
        )


def _conclude(case: Case | str, verdicts: list[Verdict]) -> dict[str, Any]:
    """Return the record of a pair."""
    if isinstance(case, str):
        return {
            **dict.fromkeys(("width", "height", "caption", "feature", "background_hash", "rain_hash")),
            **{"references": [], "similarities": [], "verdicts": []},
            **{"kept": False, "decided": True, "reason": case},
        }
    decision = decide(verdicts)
    return {
        "width": case.rainy.shape[1],
        "height": case.rainy.shape[0],
        "caption": case.description.caption,
        "feature": [float(value) for value in case.description.feature],
        "references": [reference.path for reference in case.references],
        "similarities": [reference.similarity for reference in case.references],
        "verdicts": [asdict(verdict) for verdict in verdicts],
        "background_hash": hash_background(case.clean),
        "rain_hash": hash_rain(case.rainy, case.clean),
        **asdict(decision),
    }


def describe_references(describer_options: dict[str, Any], paths: list[str], out: Path) -> None:
    """Describe some of the real pictures and write that; one that cannot be read is named in ``bad``.

    Args:
        describer_options: As the settings have them.
        paths: The pictures.
        out: File to write, ``.npz`` with `paths`, `text`, `feature`, `structure` and `bad`.
    """
    cv2.setNumThreads(1)
    describer = make_describer(describer_options)
    kept, bad, described, structures = [], [], [], []
    for path in paths:
        try:
            image = np.ascontiguousarray(read_photograph(path))
        except (OSError, ValueError) as error:
            bad.append(str(error))
            continue
        kept.append(path)
        described += describer([image])
        structures.append(as_structure(image))
    digest = {
        "paths": np.array(kept, dtype=str),
        "bad": np.array(bad, dtype=str),
        "text": np.array([one.text for one in described], np.float32),
        "feature": np.array([one.feature for one in described], np.float32),
        "structure": np.array(structures, np.uint8),
    }
    with atomic_path(out) as temporary:
        np.savez(temporary, **digest)
