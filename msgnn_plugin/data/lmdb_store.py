"""Reading pictures from an LMDB: PNGs by key in BasicSR's layout, or raw rows, which are read in place.

A list beside the data names the keys, and by its own name the form: `meta_info.txt` (BasicSR's) or `raw_info.txt`.
It is written last, so that a store without a list is an unfinished one.
"""

import re
from functools import cached_property
from pathlib import Path
from urllib.parse import quote, unquote
from weakref import WeakValueDictionary

import lmdb
import numpy as np

from msgnn_plugin.data import raw_rows
from msgnn_plugin.data.images import decode_image

# Form: its list. Stock BasicSR looks for the first and so refuses the second at once instead of failing to decode it.
LISTS = {"png": "meta_info.txt", "raw": "raw_info.txt"}
# The first line of a list of raw rows. Another layout of the values needs another version.
RAW_TITLE = "msgnn_plugin raw rows, version 1"
_LINE = re.compile(r"^(?P<key>.+)\.\w+ \(\d+,\d+,\d+\) \d+$")
# py-lmdb opens an environment once a process, and two data sets may read the same one. Weak, so that it closes with
# the last data set; a forked worker goes on with the parent's, which is sound for a reader without locks.
_OPEN_STORES: WeakValueDictionary[str, "LmdbStore"] = WeakValueDictionary()
_REMEDY = "Build it again with `basicsr data prepare`."


def is_store(folder: Path) -> bool:
    """Whether a folder is, or by its name claims to be, one LMDB (and not the folder above two of them)."""
    parts = ("data.mdb", *LISTS.values())
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
    """A checked, read-only LMDB of one of the two forms; it must not be changed while it is read.

    Args:
        path: Its folder.

    Attributes:
        form: "png" or "raw".

    Raises:
        ValueError: If it is cut short, no LMDB, of a later version, or does not hold what its list names.
    """

    def __init__(self, path: str) -> None:
        self.path = path
        self.form, self._keys = self._read_list()
        self._check_size()
        # Counted, not walked through: that would fetch a part of every picture from the disk.
        stored = self.environment.stat()["entries"]
        if stored < len(self._keys):
            raise ValueError(
                f"LMDB: {path} must hold the {len(self._keys)} pictures of its {LISTS[self.form]}, got {stored}. "
                f"{_REMEDY}"
            )
        if self.form == "raw" and self._keys:
            self.read(self._keys[0])

    @cached_property
    def environment(self) -> lmdb.Environment:
        """The open environment."""
        try:
            return lmdb.open(self.path, readonly=True, lock=False, create=False)
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

    def read(self, key: str) -> np.ndarray:
        """Return the picture of a key.

        Args:
            key: One of ``keys_by_name()``.

        Returns:
            RGB, shape (H, W, 3), uint8 or uint16. Of raw rows it is a read-only view of the mapped file: a part of it
            costs the reading of that part alone.

        Raises:
            ValueError: If the key is not there or holds no picture.
        """
        with self.environment.begin(buffers=True) as transaction:
            value = transaction.get(key.encode())
            if value is None:
                raise ValueError(f"LMDB: {self.path} must hold `{key}`, got nothing under it. {_REMEDY}")
            if self.form == "png":
                return decode_image(value, f"{self.path}/{name_of_key(key)}.png")
        try:
            # The map, and so the value, stays in place as long as this store.
            return raw_rows.unpack(value, self)
        except ValueError as error:
            raise ValueError(f"LMDB: `{key}` in {self.path} {error} {_REMEDY}") from error

    def _read_list(self) -> tuple[str, list[str]]:
        """Return the form and the keys that the list names."""
        found = [form for form, name in LISTS.items() if Path(self.path, name).is_file()]
        if len(found) != 1:
            raise ValueError(
                f"LMDB: {self.path} must hold {' or '.join(LISTS.values())}, got {'both' if found else 'none'}: "
                f"unfinished or foreign. {_REMEDY}"
            )
        (form,) = found
        file = Path(self.path, LISTS[form])
        lines = file.read_text(encoding="ascii", errors="replace").splitlines()
        above = [RAW_TITLE] if form == "raw" else []
        if lines[: len(above)] != above:
            raise ValueError(f"LMDB: line 1 of {file} must be `{RAW_TITLE}`, got {''.join(lines[:1])!r}. {_REMEDY}")
        keys = []
        for number, line in enumerate(lines[len(above) :], len(above) + 1):
            match = _LINE.match(line)
            if not match:
                raise ValueError(
                    f"LMDB: line {number} of {file} must be `key.{form} (h,w,c) n`, got {line!r}. {_REMEDY}"
                )
            keys.append(match["key"])
        return form, keys

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
