"""What commands are asked to write: never over what they read, and refused before the work where it cannot be."""

import os

import pytest
import torch
from PIL import Image

from msgnn_plugin.archs import MSGNNArch
from msgnn_plugin.cli.main import main
from msgnn_plugin.cli.outputs import check_file, check_folder

SMALL = {"num_feat": 4, "num_blocks": 1, "num_groups": 2, "num_neighbors": 2, "window_size": 3}
GRAPH = ["graph", "in/a.png", "--weights", "w.pth", "--at", "3,3", "--exemplar", "in/b.png", "-o"]
METRICS = ["metrics", "in", "gt", "--protocol", "rgb"]


@pytest.fixture
def project(tmp_path, monkeypatch, make_pair):
    monkeypatch.chdir(tmp_path)
    for folder in ("in", "gt"):
        (tmp_path / folder).mkdir()
        for number, name in enumerate(("a", "b")):
            Image.fromarray(make_pair(number, size=(20, 24))[folder == "gt"]).save(tmp_path / folder / f"{name}.png")
    torch.save({"params": MSGNNArch(**SMALL).state_dict()}, "w.pth")
    os.symlink("w.pth", "link.pth")
    (tmp_path / "file").write_text("no folder")
    return tmp_path


def contents(folder):
    return {path: path.read_bytes() if path.is_file() else None for path in sorted(folder.rglob("*"))}


def refused(capsys, project, arguments, rule):
    before = contents(project)
    assert main(arguments) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"basicsr {arguments[0]}: error: ")
    assert rule in line
    assert contents(project) == before


@pytest.mark.parametrize(
    "arguments",
    [
        [*GRAPH, "in/a.png"],
        [*GRAPH, "./in/../in/b.png"],
        [*METRICS, "--csv", "gt/a.png"],
        [*METRICS, "--json", "in/b.png"],
        ["export", "w.pth", "-o", "w.pth", "--format", "pt2"],
        ["export", "w.pth", "-o", "link.pth", "--format", "onnx"],
        ["convert", "w.pth", "w.pth"],
        ["convert", "w.pth", "link.pth"],
        ["mmengine", "weights", "w.pth", "-o", "w.pth"],
    ],
)
def test_nothing_that_is_read_is_written_over(project, capsys, arguments):
    refused(capsys, project, arguments, "must be another file than those that are read, got")


@pytest.mark.parametrize(
    "arguments",
    [
        [*GRAPH, "file/sub/g.png"],
        [*METRICS, "--csv", "file/t.csv"],
        ["export", "w.pth", "-o", "file/n.onnx"],
        ["convert", "w.pth", "file/n.pth"],
        ["bank", "w.pth", "in", "-o", "file/n.pth"],
        ["report", "none", "--html", "file/r.html"],
        ["restore", "in", "-o", "file/out", "--weights", "w.pth"],
    ],
)
def test_what_cannot_be_written_is_refused_before_the_work(project, capsys, monkeypatch, arguments):
    def work(*arguments):
        raise AssertionError("weights were read")

    monkeypatch.setattr("msgnn_plugin.archs.load_weights", work)
    refused(capsys, project, arguments, "file must be a path to read or write, got: Not a directory")


@pytest.mark.parametrize(
    ("arguments", "rule"),
    [
        ([*METRICS, "--csv", "t", "--json", "./t"], "`--csv` and `--json` must name two files, got 't' twice"),
        ([*METRICS, "--csv", ""], "`--csv` must name a file, got the folder ''"),
        ([*GRAPH, "g.txt"], "`-o` must end in .png, .svg or .pdf, got 'g.txt'"),
        (["report", "in", "--html", "in/a.png"], "`--html` must end in .html or .htm, got 'in/a.png'"),
        (["report", "in", "--html", ""], "`--html` must end in .html or .htm, got ''"),
        (["restore", "", "-o", "out", "--weights", "w.pth"], "INPUT must be a file, a folder or a pattern, got ''"),
        (["restore", "in", "-o", "", "--weights", "w.pth"], "`-o` must name a folder, got ''"),
    ],
)
def test_wrong_names_are_refused(project, capsys, arguments, rule):
    refused(capsys, project, arguments, rule)


def test_what_may_be_written(project):
    assert (
        check_file("x", "-o", "new/folder/F.PNG", suffixes=(".png",), inputs=["in/a.png", "none.png"]).name == "F.PNG"
    )
    assert check_file("x", "-o", "in/a.png", inputs=["gt/a.png"])
    check_folder(project / "new" / "folder")
    assert not (project / "new").exists()


def test_a_folder_without_the_right_to_write(project):
    (project / "in").chmod(0o500)
    try:
        (project / "in" / "probe").touch()
    except PermissionError:
        with pytest.raises(PermissionError, match=r"Permission denied: '.*in.sub'$"):
            check_folder(project / "in" / "sub")
    else:
        pytest.skip("this user may write anywhere")
    finally:
        (project / "in").chmod(0o700)
