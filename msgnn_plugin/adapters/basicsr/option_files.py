"""Read an option file and what it inherits (`_base_`), as data: nothing in it can run code."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

BASE = "_base_"


class _UniqueKeyLoader(yaml.SafeLoader):
    """YAML's safe loader, which by itself lets the later of two equal keys win without a word."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen = set()
        for key_node, _ in node.value:
            key = self.construct_object(key_node, deep=True)
            if isinstance(key, str) and key in seen:
                raise yaml.constructor.ConstructorError(
                    None, None, f"the key `{key}` is there twice", key_node.start_mark
                )
            seen.add(key if isinstance(key, str) else None)
        return super().construct_mapping(node, deep)


def read_options(path: str | Path) -> tuple[dict[str, Any], list[tuple[Path, dict[str, Any]]]]:
    """Read an option file with everything it inherits.

    Args:
        path: A YAML file; its ``_base_`` names one or several more, relative to itself.

    Returns:
        The merged options, and the chain of (file, its own content) with the most derived file first.

    Raises:
        FileNotFoundError: If a file of the chain does not exist.
        ValueError: If one is no plain YAML mapping, or two bases of one file set the same key.
    """
    path = Path(path).expanduser()
    chain = list(_chain(path, ()))
    from mmengine.config import Config

    try:
        # The check above read every file safely; mmengine's templates and imports are no data, so they are left off.
        config = Config.fromfile(
            path,
            use_predefined_variables=False,
            use_environment_variables=False,
            import_custom_modules=False,
            lazy_import=False,
        )
    except (KeyError, TypeError) as error:
        raise ValueError(f"{path}: the files it inherits cannot be merged: {error.args[0]}") from error
    return config.to_dict(), chain


def _chain(path: Path, derived: tuple[Path, ...]) -> Iterator[tuple[Path, dict[str, Any]]]:
    """Yield (file, content) for a file and its bases, each checked to be plain YAML."""
    if path.suffix not in (".yml", ".yaml"):
        raise ValueError(f"{path}: option files and their `{BASE}` must end in .yml or .yaml.")
    if not path.is_file():
        origin = f" (named by `{BASE}` in {derived[-1]})" if derived else ""
        raise FileNotFoundError(f"{path}: no such option file{origin}.")
    if path.resolve() in derived:
        raise ValueError(f"{path}: inherits itself through `{BASE}`.")
    content = _load(path)
    yield path, content
    bases = content.get(BASE, [])
    bases = bases if isinstance(bases, list) else [bases]
    for base in bases:
        if not isinstance(base, str) or "::" in base:
            raise ValueError(f"{path}: `{BASE}` must be a path or a list of paths, got {base!r}.")
        yield from _chain(path.parent / base, (*derived, path.resolve()))


def _load(path: Path) -> dict[str, Any]:
    try:
        text = path.read_text(encoding="utf-8")
        content = yaml.load(text, Loader=_UniqueKeyLoader)
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ValueError(f"{path}: not plain YAML: {' '.join(str(error).split())}") from error
    if not isinstance(content, dict) or not all(isinstance(key, str) for key in content):
        raise ValueError(f"{path}: must be a YAML mapping of names to values.")
    if "{{" in text:
        raise ValueError(f"{path}: templates ({{{{ ... }}}}) are not supported; write the value.")
    return content
