"""A lock that one process at a time holds."""

import subprocess
import sys

import pytest

from msgnn_plugin.data.lock import sole_use


def test_the_second_is_told_and_a_killed_one_holds_nothing(tmp_path):
    file = tmp_path / "new" / "lock"
    code = (
        "import sys, time; from pathlib import Path; from msgnn_plugin.data.lock import sole_use\n"
        "with sole_use(Path(sys.argv[1]), 'busy'):\n    print('held', flush=True); time.sleep(60)"
    )
    holder = subprocess.Popen([sys.executable, "-c", code, file], stdout=subprocess.PIPE, text=True)
    try:
        assert holder.stdout.readline() == "held\n"
        with pytest.raises(BlockingIOError, match=r"^another is at work$"), sole_use(file, "another is at work"):
            pass
    finally:
        holder.kill()
        holder.communicate()
    for _ in range(2):
        with sole_use(file, "another is at work"):
            pass
