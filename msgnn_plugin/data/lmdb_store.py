"""Reading pictures from an LMDB in BasicSR's layout: PNGs by key, `meta_info.txt` beside them."""

import re
from functools import cached_property
from pathlib import Path
from urllib.parse import quote, unquote
from weakref import WeakValueDictionary

import lmdb

META_NAME = "meta_info.txt"
_META_LINE = re.compile(r"^(?P<key>.+)\.\w+ \(\d+,\d+,\d+\) \d+$")
# py-lmdb opens an environment once a process, and two data sets may read the same one. Weak, so that it closes with
# the last data set; a forked worker goes on with the parent's, which is sound for a reader without locks.
_OPEN_STORES: WeakValueDictionary[str, "LmdbStore"] = WeakValueDictionary()
_REMEDY = "Build it again with `basicsr lmdb`."


def is_store(folder: Path) -> bool:
    """Whether a folder is, or by its name claims to be, one LMDB (and not the folder above two of them)."""
    parts = ("data.mdb", META_NAME)
    if any((folder / part).exists() for part in parts):
        return True
    return folder.suffix == ".lmdb" and not any((folder / side).is_dir() for side in ("lq.lmdb", "gt.lmdb"))


def open_store(path: str) -> "LmdbStore":
    """Return the process's one reader of an LMDB, opened and checked at its first use."""
    name = str(Path(path).resolve())
    store = _OPEN_STORES.get(name)
    if store is None:
        store = LmdbStore(name)
        _OPEN_STORES[name] = store
    return store


def key_of_name(name: str) -> str:
    """Return the key of a picture's name: ASCII, and without dots, because BasicSR cuts a key at the first one."""
    # A per cent sign is escaped too, so that unquoting gives every name back.
    return quote(name, safe=" !#$&'()+,;=@[]{}^", errors="surrogateescape").replace(".", "%2E")


def name_of_key(key: str) -> str:
    """Return the picture's name that a key stands for."""
    return unquote(key, errors="surrogateescape")


class LmdbStore:
    """A checked, read-only LMDB.

    Args:
        path: Its folder.

    Raises:
        ValueError: If it is cut short, no LMDB, or does not hold what its list names.
    """

    def __init__(self, path: str) -> None:
        self.path = path
        self._keys = self._read_meta()
        self._check_size()
        with self.environment.begin() as transaction:
            stored = set(transaction.cursor().iternext(keys=True, values=False))
        missing = [key for key in self._keys if key.encode() not in stored]
        if missing:
            raise ValueError(
                f"LMDB: {path} must hold the {len(self._keys)} pictures of its {META_NAME}, "
                f"got {len(missing)} missing, `{missing[0]}` the first. {_REMEDY}"
            )

    @cached_property
    def environment(self) -> lmdb.Environment:
        """The open environment."""
        try:
            return lmdb.open(self.path, readonly=True, lock=False, readahead=False, create=False)
        except lmdb.Error as error:
            if "already open" in str(error):
                raise RuntimeError(
                    f"LMDB: {self.path} must be open once a process, got a second reader that is not a "
                    "PairedExemplarDataset. Close the first."
                ) from error
            raise ValueError(f"LMDB: {self.path} must be an LMDB, got {_described(self.path)}. {_REMEDY}") from error

    def keys_by_name(self) -> dict[str, str]:
        """Return the keys by the names of their pictures."""
        return {name_of_key(key): key for key in self._keys}

    def read(self, key: str) -> bytes:
        """Return the encoded picture of a key.

        Raises:
            ValueError: If the key is not there.
        """
        with self.environment.begin() as transaction:
            data = transaction.get(key.encode())
        if data is None:
            raise ValueError(f"LMDB: {self.path} must hold `{key}`, got nothing under it. {_REMEDY}")
        return data

    def _read_meta(self) -> list[str]:
        """Return the keys that the list names."""
        meta = Path(self.path, META_NAME)
        if not meta.is_file():
            raise ValueError(f"LMDB: {self.path} must hold {META_NAME}, got none: unfinished or foreign. {_REMEDY}")
        keys = []
        for number, line in enumerate(meta.read_text(encoding="ascii", errors="replace").splitlines(), 1):
            match = _META_LINE.match(line)
            if not match:
                raise ValueError(
                    f"LMDB: line {number} of {meta} must be `key.png (h,w,c) level`, got {line!r}. {_REMEDY}"
                )
            keys.append(match["key"])
        return keys

    def _check_size(self) -> None:
        """Refuse a file that ends before its last page, which reading would answer with a bus error."""
        pages = self.environment.info()["last_pgno"] + 1
        needed = pages * self.environment.stat()["psize"]
        size = Path(self.path, "data.mdb").stat().st_size
        if size < needed:
            raise ValueError(f"LMDB: {self.path}/data.mdb must have {needed} bytes, got {size}: cut short. {_REMEDY}")


def _described(path: str) -> str:
    """Say what lies where an LMDB should."""
    data = Path(path, "data.mdb")
    return f"a data.mdb of {data.stat().st_size} bytes that is none" if data.is_file() else "no data.mdb"
