"""`basicsr data list`: the sets that come with a manifest."""

import argparse
import dataclasses
import json
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from msgnn_plugin.data.manifests import Manifest, SplitRule

NAME = "list"
HELP = "list the data sets that are known: what they hold and how to get them"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add this sub-command's arguments."""
    parser.add_argument(
        "names", nargs="*", metavar="NAME", help="tell all about these sets only; also a manifest's path"
    )
    parser.add_argument("--json", action="store_true", help="print JSON")


def run(args: argparse.Namespace) -> int:
    """Print the table, or everything about the sets named.

    Returns:
        0.
    """
    from msgnn_plugin.data.manifests import list_manifests, load_manifest

    manifests = [load_manifest(name) for name in args.names or list_manifests()]
    if args.json:
        print(json.dumps([dataclasses.asdict(manifest) for manifest in manifests], indent=2))
    elif args.names:
        print("\n\n".join(map(_describe, manifests)))
    else:
        _print_table(manifests)
    return 0


def _print_table(manifests: "list[Manifest]") -> None:
    """Print one line a set."""
    width = max(len(manifest.name) for manifest in manifests)
    print(f"{'name':<{width}}  {'pairs':<29}  what it is")
    for manifest in manifests:
        print(f"{manifest.name:<{width}}  {_counts(manifest):<29}  {manifest.about}")


def _counts(manifest: "Manifest") -> str:
    """Return the parts with their counts; several test parts are summed up."""
    tests = [rule for rule in manifest.splits if rule.name != "train"]
    parts = [f"{rule.name} {_count(rule)}" for rule in manifest.splits if rule.name == "train" or len(tests) == 1]
    if len(tests) > 1:
        parts.append(f"{len(tests)} test parts {sum(rule.pairs[0] for rule in tests if rule.pairs)}")
    return ", ".join(parts)


def _count(rule: "SplitRule") -> str:
    """Return how many pairs a part must hold."""
    return " or ".join(map(str, rule.pairs)) or "any number"


def _describe(manifest: "Manifest") -> str:
    """Return all that a manifest says, one thing a line."""
    unit = "pairs" if manifest.paired else "pictures, no clean side"
    lines = [f"{manifest.name}: {manifest.title}. {manifest.about}"]
    lines += [f"  {rule.name}: {_count(rule)} {'of ' if not rule.pairs else ''}{unit}" for rule in manifest.splits]
    lines += [f"  layout: {layout}" for layout in manifest.layouts]
    lines += [f"  {key}: {getattr(manifest, key)}" for key in ("sizes", "source", "licence", "notes")]
    return "\n".join(line for line in lines if not line.endswith(": "))
