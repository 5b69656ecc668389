"""`index.json`: what the weights are that lie beside it, each as NAME.safetensors with its card NAME.md."""

import dataclasses
import difflib
import hashlib
import json
import re
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parent
# Plain words, so that no name leads out of the folder.
NAME = re.compile(r"[a-z0-9][a-z0-9_-]*")
SHA256 = re.compile(r"[0-9a-f]{64}")
_REMEDY = "install msgnn_plugin again"


@dataclass(frozen=True)
class ShippedWeights:
    """One set of weights of the package.

    Attributes:
        name: What users call it.
        sha256: Hash of the file's content, 64 hexadecimal digits.
        family: System that it belongs to, one of `msgnn_plugin.archs.FAMILIES`.
        purpose: Which pictures it is for, in words.
        result: What it reaches, with test set and protocol, in words.
    """

    name: str
    sha256: str
    family: str
    purpose: str
    result: str

    @property
    def file(self) -> Path:
        """Where the weights lie."""
        return FOLDER / f"{self.name}.safetensors"

    @property
    def card(self) -> Path:
        """Where the card lies: data, schedule, hardware, results, licence, limits."""
        return FOLDER / f"{self.name}.md"

    def check(self) -> Path:
        """Return the file, once its content is known to be what was shipped.

        Raises:
            OSError: If it is missing or cannot be read.
            ValueError: If it is not what was shipped.
        """
        if not self.file.is_file():
            raise FileNotFoundError(f"weights: {self.name} must lie in {self.file}, got no such file; {_REMEDY}.")
        found = hashlib.sha256(self.file.read_bytes()).hexdigest()
        if found != self.sha256:
            raise ValueError(
                f"weights: {self.file} must have the SHA-256 {self.sha256}, got {found}: it was changed or cut short; "
                f"{_REMEDY}."
            )
        return self.file


@dataclass(frozen=True)
class Index:
    """The weights that there are.

    Attributes:
        weights: They by their names.
        default: Name of those that `basicsr restore` takes where none are named; None for none.
    """

    weights: dict[str, ShippedWeights]
    default: str | None = None

    def find(self, name: str, rule: str = "a name of shipped weights") -> ShippedWeights:
        """Return the weights of a name.

        Args:
            name: The name.
            rule: What it must be, for the sentence that says which names there are.

        Raises:
            FileNotFoundError: If there are none of that name.
        """
        if name not in self.weights:
            shipped = ", ".join(self.weights) or "this version has none"
            near = difflib.get_close_matches(name, self.weights, n=1)
            raise FileNotFoundError(
                f"weights: WEIGHTS must be {rule} ({shipped}), got {name!r}."
                + (f" Did you mean {near[0]}?" if near else "")
            )
        return self.weights[name]

    def to_json(self) -> str:
        """Return the text of `index.json`, the same whatever order the weights came in."""
        entries = {name: dataclasses.asdict(self.weights[name]) for name in sorted(self.weights)}
        for entry in entries.values():
            del entry["name"]
        return json.dumps({"default": self.default, "weights": entries}, indent=2, ensure_ascii=False) + "\n"


def index_file() -> Path:
    """Return where the index lies."""
    return FOLDER / "index.json"


def read_index() -> Index:
    """Read the index.

    Raises:
        OSError: If it cannot be read.
        ValueError: If it breaks a rule.
    """
    path = index_file()
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"weights: {path} must be JSON, got text that is not ({error}); {_REMEDY}.") from error
    _check(isinstance(content, dict) and set(content) == {"default", "weights"}, "`default` and `weights`", content)
    default, entries = content["default"], content["weights"]
    _check(isinstance(entries, dict), "a mapping in `weights`", entries)
    weights = {name: _read_entry(name, entry) for name, entry in entries.items()}
    _check(default is None or default in list(weights), "null or a name in `weights` as `default`", default)
    return Index(weights, default)


def default_path() -> Path | None:
    """Return the checked file of the default weights; None where there are none.

    Raises:
        OSError: As `ShippedWeights.check` and `read_index`.
        ValueError: As `ShippedWeights.check` and `read_index`.
    """
    index = read_index()
    return None if index.default is None else index.find(index.default).check()


def weights_path(given: str | Path, folder: str | Path = ".") -> Path:
    """Return the file that a user means by a path or by a name of shipped weights.

    A file of that path wins, with a warning where it hides shipped weights.

    Args:
        given: Path of any weights file, or a name.
        folder: Where relative paths start.

    Raises:
        FileNotFoundError: If it is neither.
        OSError: As `ShippedWeights.check` and `read_index`.
        ValueError: As `ShippedWeights.check` and `read_index`.
    """
    name, path = str(given), Path(folder, given)
    if not path.is_file():
        return read_index().find(name, "a weights file (.pth or .safetensors) or a name of shipped ones").check()
    if NAME.fullmatch(name) and name in read_index().weights:
        warnings.warn(
            f"{name} is taken from the file {path}, though shipped weights have that name too; rename the file to use "
            "those.",
            stacklevel=2,
        )
    return path


def _read_entry(name: str, entry: Any) -> ShippedWeights:
    _check(NAME.fullmatch(name), "names of small letters, digits, - and _", name)
    fields = {field.name for field in dataclasses.fields(ShippedWeights)} - {"name"}
    right = isinstance(entry, dict) and set(entry) == fields and all(isinstance(text, str) for text in entry.values())
    _check(right, f"texts for {', '.join(sorted(fields))} in `weights.{name}`", entry)
    _check(SHA256.fullmatch(entry["sha256"]), f"64 hexadecimal digits in `weights.{name}.sha256`", entry["sha256"])
    return ShippedWeights(name, **entry)


def _check(holds: Any, rule: str, got: Any) -> None:
    if not holds:
        raise ValueError(f"weights: {index_file()} must hold {rule}, got {got!r}; {_REMEDY}.")
