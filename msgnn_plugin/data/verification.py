"""Whether a copy of a data set is right: counts, files, sizes, sides, repeats, and test pictures in the training."""

import math
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from itertools import combinations, product
from pathlib import Path
from typing import Any

import numpy as np

from msgnn_plugin.data.manifests import Manifest
from msgnn_plugin.data.overlap import Overlap, find_overlaps
from msgnn_plugin.data.parts import Part, find_parts, guess_entries
from msgnn_plugin.data.scan import SAME_RAIN, Scan, rain_agreement, scan_entries

# A chance below this counts as certain.
_CERTAIN = 1e-3
# `Scan.rain_score` below the first means that a single pair is swapped, below the second that it may be. Of 827 right
# pairs (Rain800, Rain100H, Rain100L, Rain200H, Rain1400) none lies below the first and 2 below the second; were they
# swapped, 87 and 98 % of Rain800's would, and 99 and 100 % of the others'.
_SWAPPED, _MAYBE_SWAPPED = -0.55, -0.2
# Rainy pictures of one background that are compared with each other.
_MOST_OF_A_BACKGROUND = 20


@dataclass
class Finding:
    """One thing that is wrong, or worth knowing.

    Attributes:
        kind: "part", "layout", "count", "unpaired", "unreadable", "sizes", "alike", "swapped", "duplicate",
            "background", "leakage" or "overlap".
        part: Part of the set it is about.
        text: One sentence.
        items: The pictures, each with what it was found with.
    """

    kind: str
    part: str
    text: str
    items: list[str] = field(default_factory=list)


@dataclass
class PartReport:
    """What was found out about one part.

    Attributes:
        name: The part.
        folder: Where it lies.
        layout: The layout in words.
        count: Pairs (or single pictures) found.
        expected: Counts that the manifest accepts; empty if it states none.
        edge_share: Share of the pairs whose rainy half has more edge energy; None if unpaired.
        chance: Two-sided sign test: how likely a share so far from a half is by chance.
    """

    name: str
    folder: str
    layout: str
    count: int
    expected: list[int]
    edge_share: float | None = None
    chance: float | None = None


@dataclass
class Report:
    """The verdict on a data set."""

    name: str
    path: str
    parts: list[PartReport] = field(default_factory=list)
    faults: list[Finding] = field(default_factory=list)
    notes: list[Finding] = field(default_factory=list)

    def as_dict(self) -> dict[str, Any]:
        """Return the report as plain values, `verdict` being "fine" or "faults"."""
        return {"verdict": "faults" if self.faults else "fine", **asdict(self)}


def verify(
    manifest: Manifest,
    root: str | Path,
    *,
    split: str | None = None,
    left: str | None = None,
    against: Sequence[str | Path] = (),
    on_total: Callable[[str, int], None] = lambda what, total: None,
    on_done: Callable[[int], None] = lambda count: None,
) -> Report:
    """Check a copy of a data set against its manifest, and its parts against each other.

    Args:
        manifest: The set.
        root: Folder that holds it, see `find_parts`.
        split: Part that ``root`` is; None looks for the parts.
        left: Left half of one-file pairs, instead of the manifest's.
        against: Folders of other sets, clean pictures or pairs, whose backgrounds must not be in this one.
        on_total: Called when a stretch of work begins, with what it is and how many pictures it treats.
        on_done: Called with a number of pictures treated.

    Returns:
        The report.

    Raises:
        FileNotFoundError: If a folder does not exist or, in ``against``, holds no picture.
        ValueError: If which part is which is not certain, or a layout in ``against``.
    """
    others = [(str(path), guess_entries(path)) for path in against]
    parts = find_parts(manifest, root, split=split, left=left)
    report = Report(manifest.name, str(root))
    _judge_parts(report, manifest, parts, split is not None)
    scans: dict[str, list[Scan]] = {}
    for part in parts:
        on_total(f"Reading {part.name}", len(part.entries))
        scans[part.name] = _judge_reading(report, part, scan_entries(part.entries, on_done))
        on_total(f"Comparing {part.name}", len(part.entries))
        _judge_repeats(report, manifest, part, scans[part.name], on_done)
    for part in parts:
        if part.name != "train" and scans.get("train"):
            _judge_leakage(report, part.name, scans[part.name], scans["train"])
    for path, entries in others:
        on_total(f"Reading {path}", len(entries))
        other = [scan for scan in scan_entries(entries, on_done) if not scan.error]
        for name, own in scans.items():
            _judge_overlap(report, name, own, path, other)
    return report


def sign_test(successes: int, trials: int) -> float:
    """Return how likely a share at least so far from a half is by chance (exact, two-sided); 1 for no trials."""
    if trials == 0:
        return 1.0
    rarer = min(successes, trials - successes)
    logs = [
        math.lgamma(trials + 1) - math.lgamma(k + 1) - math.lgamma(trials - k + 1) - trials * math.log(2)
        for k in range(rarer + 1)
    ]
    return min(1.0, 2 * math.exp(min(0.0, float(np.logaddexp.reduce(logs)))))


def _judge_parts(report: Report, manifest: Manifest, parts: list[Part], named: bool) -> None:
    """Judge what can be told without opening a picture."""
    found = {part.name for part in parts}
    absent = [rule.name for rule in manifest.splits if rule.name not in found]
    # A user who gives the folder of one part means that part.
    alone = named or (len(parts) == 1 and parts[0].folder == Path(report.path))
    for name in absent:
        text = f"not looked at, {report.path} is one part" if alone else f"no folder of it in {report.path}"
        (report.notes if alone else report.faults).append(Finding("part", name, text))
    unit = "pairs" if manifest.paired else "pictures"
    for part in parts:
        count, expected = len(part.entries), list(part.rule.pairs)
        report.parts.append(PartReport(part.name, str(part.folder), part.layout, count, expected))
        if part.fault:
            report.faults.append(Finding("layout", part.name, part.fault))
            continue
        if expected and count not in expected:
            wanted = " or ".join(map(str, expected))
            gap = abs(count - expected[0])
            text = f"must hold {wanted} {unit}, got {count}: {gap} {'missing' if count < expected[0] else 'too many'}"
            report.faults.append(Finding("count", part.name, text, _gaps(part) if count < expected[0] else []))
        backgrounds = {entry.clean for entry in part.entries if entry.clean is not None}
        if part.rule.backgrounds not in (None, len(backgrounds)):
            text = f"must hold {part.rule.backgrounds} clean pictures, got {len(backgrounds)}"
            report.faults.append(Finding("count", part.name, text))
        if part.alone:
            text = f"{len(part.alone)} files lack their partner"
            report.faults.append(Finding("unpaired", part.name, text, [str(path) for path in part.alone]))


def _gaps(part: Part) -> list[str]:
    """Return the numbers that are missing from names 1, 2, 3 ... of one form, if there are few."""
    tails = [entry.name.rpartition("-")[2] for entry in part.entries]
    if not tails or not all(tail.isdecimal() for tail in tails):
        return []
    missing = set(range(1, max(map(int, tails)))) - set(map(int, tails))
    return [f"number {number}" for number in sorted(missing)] if len(missing) <= part.rule.pairs[0] // 10 else []


def _judge_reading(report: Report, part: Part, scans: list[Scan]) -> list[Scan]:
    """Judge files, sizes and sides; return the scans of what can be used."""
    for kind, what, differ in (("unreadable", "cannot be read", False), ("sizes", "have unequal halves", True)):
        bad = [f"{scan.name}: {scan.error}" for scan in scans if scan.error and scan.sizes_differ == differ]
        if bad:
            report.faults.append(Finding(kind, part.name, f"{len(bad)} pairs or pictures {what}", bad))
    good = [scan for scan in scans if not scan.error]
    alike = [scan.name for scan in good if scan.alike]
    if alike:
        text = f"{len(alike)} pairs have no rain: both halves are one picture"
        report.notes.append(Finding("alike", part.name, text, alike))
    ratios = [scan.edge_ratio for scan in good if scan.edge_ratio]
    if not ratios:
        return good
    row = next(row for row in report.parts if row.name == part.name)
    more = sum(ratio > 0 for ratio in ratios)
    row.edge_share, row.chance = more / len(ratios), sign_test(more, len(ratios))
    told = f"the rainy half has more edge energy in {more} of {len(ratios)} pairs (sign test p = {row.chance:.2g})"
    if row.chance < _CERTAIN and row.edge_share < 0.5:
        remedy = "; give --left the other way round" if part.entries[0].rainy.half else ""
        report.faults.append(Finding("swapped", part.name, f"the halves are swapped: {told}{remedy}"))
        return good
    if row.chance >= _CERTAIN:
        report.notes.append(Finding("swapped", part.name, f"which half is rainy is not certain: {told}"))
    for findings, least, most, told in (
        (report.faults, -math.inf, _SWAPPED, "have their halves swapped"),
        (report.notes, _SWAPPED, _MAYBE_SWAPPED, "may have their halves swapped, look at them"),
    ):
        judged = [scan for scan in good if not scan.alike]
        swapped = [f"{scan.name} ({scan.rain_score:.2f})" for scan in judged if least <= scan.rain_score < most]
        if swapped:
            findings.append(Finding("swapped", part.name, f"{len(swapped)} pairs {told}", swapped))
    return good


def _judge_repeats(
    report: Report, manifest: Manifest, part: Part, scans: list[Scan], on_done: Callable[[int], None]
) -> None:
    """Judge pairs that are there twice, and backgrounds that are there under several rains."""
    repeats, once = _drop_exact_repeats(scans)
    shared: list[tuple[str, str]] = []
    heads = list(_by_digest(once).values())
    for group in heads:
        for one, two in combinations(group[:_MOST_OF_A_BACKGROUND], 2):
            _sort_repeat(one, two, repeats, shared)
    if part.rule.backgrounds is not None:
        shared.clear()  # Several rains of one background are how the set is made.
    if not manifest.shared_backgrounds:
        for overlap in find_overlaps(_thumbnails(heads), on_done=on_done):
            first, second = (heads[place][:_MOST_OF_A_BACKGROUND] for place in (overlap.first, overlap.second))
            for one, two in product(first, second):
                _sort_repeat(one, two, repeats, shared)
    on_done(len(part.entries) - (0 if manifest.shared_backgrounds else len(heads)))
    if repeats:
        surplus = _surplus(repeats)
        known = surplus <= part.rule.repeats and len(part.entries) in part.rule.pairs
        text = f"{surplus} pairs or pictures are there more than once" + (", as published" if known else "")
        items = [f"{one} = {two} ({how})" for one, two, how in repeats]
        (report.notes if known else report.faults).append(Finding("duplicate", part.name, text, items))
    if shared:
        items = [f"{one} ~ {two}" for one, two in shared]
        text = f"{len(shared)} couples show one scene under different rain or at another moment"
        report.notes.append(Finding("background", part.name, text, items))


def _drop_exact_repeats(scans: list[Scan]) -> tuple[list[tuple[str, str, str]], list[Scan]]:
    """Return what is there twice to the last pixel, (one, other, how), and the scans without the later ones."""
    repeats, seen = [], {}
    for scan in scans:
        first = seen.setdefault((scan.rainy_digest, scan.digest), scan)
        if first is not scan:
            repeats.append((first.name, scan.name, "every pixel"))
    return repeats, list(seen.values())


def _sort_repeat(one: Scan, two: Scan, repeats: list[tuple[str, str, str]], shared: list[tuple[str, str]]) -> None:
    """Tell two pairs of one background apart: the same rain, or another."""
    if one.layer is not None and rain_agreement(one.layer, two.layer) > SAME_RAIN:
        repeats.append((one.name, two.name, "saved anew"))
    else:
        shared.append((one.name, two.name))


def _surplus(repeats: list[tuple[str, str, str]]) -> int:
    """Return how many would have to go so that nothing is there twice."""
    head: dict[str, str] = {}

    def find(name: str) -> str:
        while head.get(name, name) != name:
            name = head[name]
        return name

    for one, two, _ in repeats:
        head[find(two)] = find(one)
    return sum(find(name) != name for name in {name for one, two, _ in repeats for name in (one, two)})


def _judge_leakage(report: Report, name: str, test: list[Scan], train: list[Scan]) -> None:
    """Judge whether backgrounds of a test part are in the training part."""
    items = _list_overlaps(test, train)
    if items:
        text = f"{len(items)} of {len(test)} pictures are in the training part too"
        report.faults.append(Finding("leakage", name, text, items))


def _judge_overlap(report: Report, name: str, own: list[Scan], path: str, other: list[Scan]) -> None:
    """Judge whether backgrounds of a part are in another set."""
    items = _list_overlaps(own, other)
    if items:
        text = f"{len(items)} of {len(own)} pictures are in {path} too"
        report.faults.append(Finding("overlap", name, text, items))


def _list_overlaps(own: list[Scan], other: list[Scan]) -> list[str]:
    """Return a line for each of our pictures whose background others show."""
    heads, partners = list(_by_digest(own).values()), list(_by_digest(other).values())
    seen: dict[int, list[Overlap]] = defaultdict(list)
    for overlap in find_overlaps(_thumbnails(heads), _thumbnails(partners)):
        seen[overlap.first].append(overlap)
    lines = []
    for first, overlaps in seen.items():
        told = [f"{_names(partners[overlap.second])} ({overlap.agreement:.2f})" for overlap in overlaps]
        lines += [f"{scan.name}: {', '.join(told)}" for scan in heads[first]]
    return lines


def _names(scans: list[Scan]) -> str:
    """Return the names of pairs that have one background."""
    return ", ".join(scan.name for scan in scans[:3]) + (" ..." if len(scans) > 3 else "")


def _by_digest(scans: list[Scan]) -> dict[bytes, list[Scan]]:
    """Return the scans by their background's pixels."""
    groups: dict[bytes, list[Scan]] = defaultdict(list)
    for scan in scans:
        groups[scan.digest].append(scan)
    return groups


def _thumbnails(groups: list[list[Scan]]) -> np.ndarray:
    """Return the thumbnail of each background, shape (n, 64, 64)."""
    return np.array([group[0].thumbnail for group in groups])
