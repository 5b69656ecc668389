"""Puts trained weights into msgnn_plugin/weights: half precision, their hash in the index (docs/weights.md)."""

import argparse
import hashlib
import re
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from torch import Tensor

from msgnn_plugin import weights as shipped
from msgnn_plugin.adapters.basicsr.checkpoints import write_weights
from msgnn_plugin.archs import FAMILIES, from_state_dict, load_weights
from msgnn_plugin.archs.state_dict import halve, unwrap
from msgnn_plugin.data.atomic import write_bytes_atomic

MAX_FILE, MAX_ALL = 12_000_000, 40_000_000  # bytes
# Headings that a card must have.
SECTIONS = ("Data", "Schedule", "Hardware", "Results", "Licence", "Limits")


def main(argv: Sequence[str] | None = None) -> int:
    """Pack one set of weights.

    Returns:
        0 when it is packed, 2 when it cannot be; nothing has changed then.
    """
    parser = argparse.ArgumentParser(description="Put trained weights into msgnn_plugin/weights.")
    parser.add_argument("name", metavar="NAME", help="what users will call them; the card NAME.md must be there")
    parser.add_argument("source", metavar="WEIGHTS", help="net_g_*.pth of a training, or what `basicsr bank` made")
    parser.add_argument("--purpose", required=True, metavar="TEXT", help="which pictures they are for")
    parser.add_argument("--result", required=True, metavar="TEXT", help="what they reach, test set and protocol named")
    parser.add_argument("--default", action="store_true", help="have `basicsr restore` take them where none are named")
    args = parser.parse_args(argv)
    try:
        pack(args.name, args.source, args.purpose, args.result, is_default=args.default)
    except (ValueError, OSError, RuntimeError) as error:
        print(f"pack_weights: error: {error}", file=sys.stderr)
        return 2
    return 0


def pack(name: str, source: str | Path, purpose: str, result: str, *, is_default: bool) -> None:
    """Write the weights and the index; the same input gives the same bytes."""
    if not shipped.NAME.fullmatch(name):
        raise ValueError(f"NAME must be small letters, digits, - and _, got {name!r}.")
    index = shipped.read_index()
    weights = halve(unwrap(load_weights(source)))
    network = from_state_dict(weights)
    family = next(family for family, kind in FAMILIES.items() if isinstance(network, kind))
    content = to_bytes(weights)
    entry = shipped.ShippedWeights(name, hashlib.sha256(content).hexdigest(), family, purpose, result)
    index = shipped.Index({**index.weights, name: entry}, name if is_default else index.default)
    check_card(entry.card)
    others = sum(other.file.stat().st_size for other in index.weights.values() if other.name != name)
    if len(content) > MAX_FILE or others + len(content) > MAX_ALL:
        raise ValueError(
            f"{source}: must make at most {MAX_FILE} bytes, and at most {MAX_ALL} with the {others} of the others, got "
            f"{len(content)}; train a smaller network, or take exemplars out of its bank."
        )
    write_bytes_atomic(entry.file, content)
    write_bytes_atomic(shipped.index_file(), index.to_json().encode())
    print(f"{entry.file}: {len(content) / 1e6:.2f} MB, {len(weights)} tensors of {type(network).__name__}.")


def to_bytes(weights: dict[str, Tensor]) -> bytes:
    """Return the content of the .safetensors file that holds these weights."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "weights.safetensors")
        write_weights(weights, file)
        return file.read_bytes()


def check_card(card: Path) -> None:
    """Raise FileNotFoundError or ValueError unless the card is there and has its sections."""
    if not card.is_file():
        raise FileNotFoundError(f"{card}: must be the card of these weights, got no such file; see docs/weights.md.")
    found = re.findall(r"^## (.+)$", card.read_text(encoding="utf-8"), re.MULTILINE)
    missing = [section for section in SECTIONS if section not in found]
    if missing:
        raise ValueError(f"{card}: must have the headings {', '.join(SECTIONS)} (`## Data`), got no {missing[0]!r}.")


if __name__ == "__main__":
    sys.exit(main())
