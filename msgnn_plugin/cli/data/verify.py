"""`basicsr data verify`: whether a copy of a data set is right."""

import argparse
import json
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from msgnn_plugin.data.verification import Finding, PartReport, Report

NAME = "verify"
HELP = "check a copy of a data set: files, counts, sizes, sides, repeats, test pictures in the training part"
_LISTED = 8


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add this sub-command's arguments."""
    parser.add_argument("name", metavar="NAME", help="set, see `basicsr data list`, or the path of a manifest")
    parser.add_argument("path", metavar="PATH", help="folder that holds it, or one part of it")
    parser.add_argument("--split", metavar="PART", help="part that PATH is, where its folder's name does not tell")
    parser.add_argument(
        "--left", choices=("clean", "rainy"), help="left half of files that hold a pair (the manifest's)"
    )
    parser.add_argument(
        "--against", nargs="+", default=[], metavar="PATH", help="other sets whose backgrounds must not be in this one"
    )
    parser.add_argument(
        "--json", nargs="?", const="-", metavar="FILE", help="write the report as JSON to FILE, or print it as JSON"
    )


def run(args: argparse.Namespace) -> int:
    """Check the copy and tell.

    Returns:
        0 when it is right, 1 when faults were found.
    """
    from msgnn_plugin.cli.progress import progress_bar
    from msgnn_plugin.data.atomic import write_bytes_atomic
    from msgnn_plugin.data.manifests import load_manifest
    from msgnn_plugin.data.verification import verify

    manifest = load_manifest(args.name)
    with progress_bar() as (begin, advance, _):
        report = verify(
            manifest,
            args.path,
            split=args.split,
            left=args.left,
            against=args.against,
            on_total=begin,
            on_done=advance,
        )
    written = json.dumps(report.as_dict(), indent=2)
    print(written if args.json == "-" else describe(report), flush=True)
    if args.json and args.json != "-":  # last, so that a file that cannot be written does not cost the report
        write_bytes_atomic(args.json, written.encode())
    return 1 if report.faults else 0


def describe(report: "Report") -> str:
    """Return a report as text."""
    lines = [f"{report.name} in {report.path}"]
    lines += [f"  {_part(part)}" for part in report.parts]
    for title, findings in (("Faults", report.faults), ("Notes", report.notes)):
        if findings:
            lines += ["", f"{title}:", *(line for finding in findings for line in _finding(finding))]
    lines += ["", f"Faults found: {len(report.faults) or 'none'}."]
    return "\n".join(lines)


def _part(part: "PartReport") -> str:
    """Return one part's line."""
    wanted = f" of {' or '.join(map(str, part.expected))}" if part.expected else ""
    line = f"{part.name}: {part.count}{wanted}, {part.layout or 'layout not recognised'} ({part.folder})"
    if part.edge_share is not None:
        line += f"; rainy half rainier in {part.edge_share:.1%} (p = {part.chance:.2g})"
    return line


def _finding(finding: "Finding") -> list[str]:
    """Return a finding's lines; of many pictures the first few are named."""
    lines = [f"  {finding.part}, {finding.kind}: {finding.text}"]
    lines += [f"    {item}" for item in finding.items[:_LISTED]]
    if len(finding.items) > _LISTED:
        lines.append(f"    and {len(finding.items) - _LISTED} more, all of them with --json")
    return lines
