"""Files appear whole or not at all."""

import subprocess
import sys

import pytest

from msgnn_plugin.data.atomic import atomic_path, write_bytes_atomic


def _write_half(final, error):
    with atomic_path(final) as temporary:
        temporary.write_bytes(b"half")
        raise error


def test_writes_and_makes_folders(tmp_path):
    write_bytes_atomic(tmp_path / "new" / "folder" / "a.bin", b"abc")
    assert (tmp_path / "new" / "folder" / "a.bin").read_bytes() == b"abc"
    assert [path.name for path in (tmp_path / "new" / "folder").iterdir()] == ["a.bin"]


def test_temporary_path_keeps_suffix_and_folder(tmp_path):
    with atomic_path(tmp_path / "雨.png") as temporary:
        temporary.write_bytes(b"x")
        assert temporary.suffix == ".png"
        assert temporary.parent == tmp_path
        assert not (tmp_path / "雨.png").exists()
    assert (tmp_path / "雨.png").read_bytes() == b"x"


@pytest.mark.parametrize("error", [OSError, KeyboardInterrupt])
def test_an_error_leaves_the_older_file(tmp_path, error):
    final = tmp_path / "a.bin"
    write_bytes_atomic(final, b"old")
    with pytest.raises(error):
        _write_half(final, error)
    assert final.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [final]


def test_a_block_that_writes_nothing_is_an_error(tmp_path):
    with pytest.raises(FileNotFoundError), atomic_path(tmp_path / "a.bin"):
        pass
    assert list(tmp_path.iterdir()) == []


def test_long_names_fit(tmp_path):
    write_bytes_atomic(tmp_path / ("n" * 245 + ".bin"), b"x")
    assert len(list(tmp_path.iterdir())) == 1


def test_what_a_kill_leaves_is_not_taken_for_a_finished_file(tmp_path):
    code = (
        "import os, signal; from pathlib import Path; from msgnn_plugin.data import atomic\n"
        "atomic._flush = lambda path: os.kill(os.getpid(), signal.SIGKILL)\n"
        f"atomic.write_bytes_atomic({str(tmp_path / 'net_g_5.pth')!r}, b'half')"
    )
    subprocess.run([sys.executable, "-c", code], check=False)
    (left,) = tmp_path.iterdir()
    assert left.name.startswith(".net_g_5.")
    assert left.suffix == ".tmp"


def _read_a_folder(final):
    with atomic_path(final) as temporary:
        temporary.mkdir()
        try:
            temporary.read_bytes()
        finally:
            temporary.rmdir()


def test_an_error_names_the_final_file(tmp_path):
    with pytest.raises(IsADirectoryError) as caught:
        _read_a_folder(tmp_path / "a.txt")
    assert caught.value.filename == str(tmp_path / "a.txt")
