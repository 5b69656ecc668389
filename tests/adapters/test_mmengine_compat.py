"""Every mend of mmengine next to the fault it is for."""

import importlib
import pickle
from pathlib import Path

import pytest
import torch
from mmengine.fileio import LocalBackend
from mmengine.logging import HistoryBuffer
from mmengine.runner import checkpoint as published
from mmengine.runner import runner as runner_module

from msgnn_plugin.adapters.mmengine import compat
from msgnn_plugin.adapters.mmengine.compat import checkpoint_loading, latest_checkpoint
from msgnn_plugin.adapters.mmengine.compat.checkpoint_loading import load_from_local


def records() -> dict:
    """What mmengine stores beside weights."""
    history = HistoryBuffer([0.5, 0.25], [1, 1])
    return {
        "meta": {"iter": 2, "config": "raise RuntimeError('run as code')"},
        "state_dict": {"weight": torch.arange(3.0)},
        "message_hub": {"log_scalars": {"train/loss": history}, "best": history.data[0][0]},
    }


def test_every_mend_reports():
    assert [name for name, _, _ in compat.status()] == [
        *("torchvision_import", "checkpoint_loading", "checkpoint_writing", "latest_checkpoint")
    ]
    assert all(state in ("applied", "not needed") for _, _, state in compat.status())
    before = runner_module.find_latest_checkpoint
    compat.apply()
    assert runner_module.find_latest_checkpoint is before


def test_torchvision_imports():
    assert importlib.import_module("torchvision").__version__


def test_checkpoints_with_the_logged_history_can_be_read(tmp_path):
    path = tmp_path / "iter_2.pth"
    torch.save(records(), path)
    if checkpoint_loading.needed():
        # The function itself is left as published; only the table that names it is changed.
        with pytest.raises(pickle.UnpicklingError, match="HistoryBuffer"):
            published.load_from_local(str(path), "cpu")
    loaded = published.CheckpointLoader.load_checkpoint(str(path), "cpu")
    assert torch.equal(loaded["state_dict"]["weight"], torch.arange(3.0))
    history = loaded["message_hub"]["log_scalars"]["train/loss"]
    assert history.mean() == 0.375
    assert history.statistics("current") == 0.25
    assert loaded["message_hub"]["best"] == 0.5
    # Runner.resume would run this as a config.
    assert loaded["meta"] == {"iter": 2}


class RunsCode:
    def __init__(self, function, *arguments):
        self.call = (function, arguments)

    def __reduce__(self):
        return self.call


@pytest.mark.parametrize(
    "content",
    [
        RunsCode(print, "run as code"),
        RunsCode(getattr, HistoryBuffer, "register_statistics"),
        RunsCode(getattr, torch.Size, "count"),
    ],
    ids=["call", "another method", "another owner"],
)
def test_code_in_a_checkpoint_is_refused(tmp_path, capsys, content):
    path = tmp_path / "iter_2.pth"
    torch.save({"state_dict": {}, "message_hub": content}, path)
    with pytest.raises(ValueError, match="must be a whole file of tensors and mmengine's records, got one cut short"):
        load_from_local(str(path), "cpu")
    assert "run as code" not in capsys.readouterr().out


def test_broken_and_missing_checkpoints_are_told(tmp_path):
    path = tmp_path / "iter_2.pth"
    torch.save(records(), path)
    path.write_bytes(path.read_bytes()[:700])
    with pytest.raises(ValueError, match=r"iter_2\.pth' must be a whole file"):
        load_from_local(str(path), "cpu")
    with pytest.raises(FileNotFoundError, match=r"`load_from` must be a file, got '.*none\.pth'"):
        load_from_local(str(tmp_path / "none.pth"), "cpu")


def test_a_full_disk_leaves_the_older_checkpoint(tmp_path, monkeypatch):
    path = tmp_path / "deep" / "iter_2.pth"
    LocalBackend().put(b"older", path)

    def full(self, data):
        self.touch()
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(OSError, match="No space left"):
        LocalBackend().put(b"newer", path)
    monkeypatch.undo()
    assert path.read_bytes() == b"older"
    assert [file.name for file in path.parent.iterdir()] == ["iter_2.pth"]


@pytest.mark.parametrize(
    ("note", "found"),
    [
        ("HERE/iter_4.pth", "iter_4.pth"),
        # Moved: the noted file lies here under its name.
        ("/gone/iter_4.pth", "iter_4.pth"),
        ("/gone/iter_9.pth", "iter_12.pth"),
        ("", "iter_12.pth"),
        (None, "iter_12.pth"),
    ],
)
def test_the_latest_checkpoint_is_found(tmp_path, note, found):
    for name in ("iter_4.pth", "iter_12.pth", "best_PSNR_iter_20.pth"):
        (tmp_path / name).write_bytes(b"")
    if note is not None:
        (tmp_path / "last_checkpoint").write_text(note.replace("HERE", str(tmp_path)))
    assert latest_checkpoint.find_latest_checkpoint(str(tmp_path)) == str(tmp_path / found)


def test_no_checkpoint_is_none(tmp_path):
    assert latest_checkpoint.find_latest_checkpoint(str(tmp_path)) is None
    if latest_checkpoint.needed():
        (tmp_path / "last_checkpoint").write_text("/gone/iter_4.pth")
        assert published.find_latest_checkpoint(str(tmp_path)) == "/gone/iter_4.pth"
