"""What `basicsr restore` can do beside files in, files out: the pipe, several jobs, exemplars, what is done already."""

import io
import re
import sys
import threading
import types
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from msgnn_plugin.archs import MSGNNArch, NLCLGenerator
from msgnn_plugin.cli.in_order import run_in_order
from msgnn_plugin.cli.main import main
from msgnn_plugin.data.rain_description import describe_rain
from msgnn_plugin.restoration import Restorer

SMALL = {"num_feat": 4, "num_blocks": 1, "num_groups": 2, "scales": (1,), "num_neighbors": 2, "window_size": 3}


@pytest.fixture(scope="module")
def network():
    torch.manual_seed(0)
    return MSGNNArch(**SMALL).eval().requires_grad_(False)


@pytest.fixture
def weights(network, tmp_path):
    torch.save(network.state_dict(), tmp_path / "net.pth")
    return tmp_path / "net.pth"


@pytest.fixture
def restore(weights, tmp_path):
    def run(*arguments, out=tmp_path / "out"):
        return main(["restore", *map(str, arguments), "-o", str(out), "--weights", str(weights), "--device", "cpu"])

    return run


@pytest.fixture
def pictures(tmp_path, make_pair):
    """Four rainy pictures in a folder."""
    (tmp_path / "in").mkdir()
    images = [make_pair(seed, size=(40, 52))[0] for seed in range(4)]
    for number, image in enumerate(images):
        Image.fromarray(image).save(tmp_path / f"in/{number}.png")
    return images


def tensor(image):
    return torch.from_numpy(image.astype(np.float32)).permute(2, 0, 1)[None] / 255


def load(path):
    return np.asarray(Image.open(path))


def as_pixels(derained):
    return (derained[0].clamp(0, 1) * 255).permute(1, 2, 0).numpy()


@pytest.fixture
def given(monkeypatch):
    """What the network is given: rainy pictures and exemplars."""
    seen = []
    forward = MSGNNArch.forward
    monkeypatch.setattr(
        MSGNNArch, "forward", lambda self, rainy, *rest: seen.append((rainy, *rest)) or forward(self, rainy, *rest)
    )
    return seen


def watch(monkeypatch):
    seen = []
    call = Restorer.__call__
    monkeypatch.setattr(Restorer, "__call__", lambda self, *rest: seen.append(rest[-1].name) or call(self, *rest))
    return seen


def test_a_picture_through_the_pipe(restore, pictures, tmp_path, monkeypatch, capsysbinary):
    content = (tmp_path / "in/0.png").read_bytes()
    monkeypatch.setattr(sys, "stdin", types.SimpleNamespace(buffer=io.BytesIO(content)))
    assert restore("-", out="-") == 0
    piped = capsysbinary.readouterr().out
    assert restore(tmp_path / "in/0.png") == 0
    np.testing.assert_array_equal(load(io.BytesIO(piped)), load(tmp_path / "out/0.png"))


@pytest.mark.parametrize(
    ("inputs", "out", "options", "sentence"),
    [
        (["-"], "out", (), "`-` must stand for INPUT and for `-o` alike"),
        (["-", "-"], "-", (), "with no other INPUT"),
        (["in/0.png"], "-", (), "`-` must stand for INPUT and for `-o` alike"),
        (["-"], "-", ("--compare",), "`--compare` and `--clean` must be left out for the standard input"),
        (["-"], "-", (), "standard input: the file must be a picture"),
    ],
)
def test_wrong_pipes_are_refused(restore, pictures, tmp_path, monkeypatch, capsys, inputs, out, options, sentence):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "stdin", types.SimpleNamespace(buffer=io.BytesIO(b"no picture")))
    assert restore(*inputs, *options, out=out) == 2
    output = capsys.readouterr()
    assert sentence in output.err
    assert output.out == ""


def test_self_ensemble_is_the_mean_of_the_mirrored_forms(restore, network, pictures, given, tmp_path):
    other = pictures[1]
    assert restore(tmp_path / "in/0.png", "--self-ensemble", "--exemplar", tmp_path / "in/1.png") == 0
    inputs, forms = list(given), []
    for turns in (0, 2):
        for mirrored in (False, True):
            # In other steps than the code's: mirrored, then turned by 180 degrees.
            images = [np.rot90(image[:, ::-1] if mirrored else image, turns).copy() for image in (pictures[0], other)]
            pair = list(map(tensor, images))
            assert sum(torch.equal(pair[0], one) and torch.equal(pair[1], two) for one, two in inputs) == 1
            derained = network(*pair)[0].permute(1, 2, 0).numpy()
            derained = np.rot90(derained, -turns)
            forms.append(derained[:, ::-1] if mirrored else derained)
    assert len(inputs) == 4
    wanted = np.clip(np.mean(forms, axis=0), 0, 1) * 255
    assert np.abs(load(tmp_path / "out/0.png") - wanted).max() <= 0.502
    assert np.abs(forms[0] * 255 - wanted).max() > 2


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_half_precision_is_close_and_really_used(restore, network, pictures, given, tmp_path, dtype):
    assert restore(tmp_path / "in/0.png", "--dtype", dtype) == 0
    assert [rainy.dtype for rainy, *_ in given] == [getattr(torch, dtype)]
    wanted = as_pixels(network(tensor(pictures[0])))
    assert np.abs(load(tmp_path / "out/0.png") - wanted).mean() < 2


def test_a_folder_of_exemplars_gives_the_most_alike_other_picture(restore, pictures, given, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    assert restore(tmp_path / "in", "--exemplar", tmp_path / "in") == 0
    descriptions = np.stack([describe_rain(image) for image in pictures])
    for number, (rainy, exemplar) in enumerate(given):
        assert torch.equal(rainy, tensor(pictures[number]))
        distances = np.linalg.norm(descriptions - descriptions[number], axis=1)
        distances[number] = np.inf
        assert torch.equal(exemplar, tensor(pictures[int(distances.argmin())]))


def test_a_folder_of_the_picture_alone_means_itself(restore, pictures, given, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    (tmp_path / "alone").mkdir()
    Image.fromarray(pictures[0]).save(tmp_path / "alone/0.png")
    assert restore(tmp_path / "alone/0.png", "--exemplar", tmp_path / "alone") == 0
    assert torch.equal(given[0][1], tensor(pictures[0]))


def test_bad_folders_of_exemplars_are_refused(restore, pictures, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    (tmp_path / "none").mkdir()
    assert restore(tmp_path / "in", "--exemplar", tmp_path / "none") == 2
    assert "`folder` must hold at least one picture" in capsys.readouterr().err
    (tmp_path / "none/broken.png").write_text("no picture")
    assert restore(tmp_path / "in", "--exemplar", tmp_path / "none") == 2
    assert "broken.png" in capsys.readouterr().err


def test_several_jobs_give_the_same_and_a_bad_file_fails_alone(restore, pictures, tmp_path, capsys):
    (tmp_path / "in/1b.png").write_text("no picture")
    assert restore(tmp_path / "in", "--jobs", 3) == 1
    results = {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir()}
    assert sorted(results) == ["0.png", "1.png", "2.png", "3.png"]
    assert "1b.png" in capsys.readouterr().err
    assert restore(tmp_path / "in", "--force") == 1
    assert {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir()} == results
    assert restore(tmp_path / "in", "--jobs", 0) == 2
    assert "`--jobs` must be at least 1, got 0" in capsys.readouterr().err


def test_jobs_share_the_memory(restore, pictures, tmp_path, capsys):
    from msgnn_plugin.memory import estimate_bytes

    room = estimate_bytes(MSGNNArch(**SMALL), (40, 52)) / 2**30
    assert restore(tmp_path / "in", "--memory", 1.5 * room) == 0
    assert restore(tmp_path / "in", "--memory", 1.5 * room, "--jobs", 2, "--force") == 1
    assert "available" in capsys.readouterr().err


def test_work_is_taken_as_it_is_needed_and_ended_when_stopped():
    taken, ended = [], []
    gate = threading.Event()

    def items():
        for number in range(100):
            taken.append(number)
            yield number

    def work(number):
        if number == 1:
            gate.wait(10)
        ended.append(number)
        return number

    results = run_in_order(work, items(), 3)
    assert next(results) == 0
    gate.set()
    assert next(results) == 1
    assert len(taken) <= 5
    results.close()
    count = len(ended)
    assert count <= 5
    assert list(run_in_order(str, range(20), 4)) == [str(number) for number in range(20)]
    assert len(ended) == count


def test_what_is_done_is_skipped_until_something_changes(restore, pictures, tmp_path, monkeypatch, capsys):
    seen = watch(monkeypatch)

    def runs(*options):
        seen.clear()
        assert restore(tmp_path / "in", *options) == 0
        return sorted(seen)

    everything = [f"{number}.png" for number in range(4)]
    assert runs() == everything
    capsys.readouterr()
    assert runs() == []
    assert "Restored 0 of 4 pictures" in (text := capsys.readouterr().out)
    assert "4 were done before (`--force` does them again)" in text
    assert runs("--jobs", 2) == []
    Image.fromarray(pictures[2][::-1]).save(tmp_path / "in/1.png")
    (tmp_path / "out/3.png").unlink()
    assert runs() == ["1.png", "3.png"]
    (tmp_path / "out/0.png").write_bytes((tmp_path / "out/0.png").read_bytes()[:20])
    Image.fromarray(pictures[2]).save(tmp_path / "out/2.png")  # a foreign picture of that name
    assert runs() == ["0.png", "2.png"]
    assert runs("--force") == everything
    for options in (["--rounding", "truncate"], ["--exemplar", "self"], ["--dtype", "bfloat16"], ["--tile", "auto"]):
        assert runs(*options) == everything
        assert runs(*options) == []
    assert runs("--exemplar", tmp_path / "in/0.png") == everything
    assert runs("--compare") == everything
    assert runs("--compare") == []
    (tmp_path / "out/compare/2.png").unlink()
    assert runs("--compare") == ["2.png"]


def test_other_weights_restore_again(restore, network, weights, pictures, tmp_path, monkeypatch):
    seen = watch(monkeypatch)
    assert restore(tmp_path / "in") == 0
    state = network.state_dict()
    torch.save({name: value + 0.01 if name == "stem.weight" else value for name, value in state.items()}, weights)
    assert restore(tmp_path / "in") == 0
    assert len(seen) == 8


@pytest.mark.parametrize("jobs", [1, 2])
def test_an_interrupt_leaves_whole_files_alone(restore, pictures, tmp_path, monkeypatch, capsys, jobs):
    from msgnn_plugin.data import image_file

    encode, count = image_file._encode_png, iter(range(9))

    def interrupted(values):
        if next(count) == 2:
            raise KeyboardInterrupt
        return encode(values)

    with monkeypatch.context() as patch:
        patch.setattr(image_file, "_encode_png", interrupted)
        assert restore(tmp_path / "in", "--jobs", jobs) == 130
    assert "interrupted" in capsys.readouterr().err
    for path in (left := list((tmp_path / "out").iterdir())):
        assert load(path).shape == (40, 52, 3)
    assert len(left) < 4
    seen = watch(monkeypatch)
    assert restore(tmp_path / "in") == 0
    assert len(seen) == 4 - len(left)


def test_exemplars_are_not_for_nlcl(pictures, tmp_path, capsys):
    torch.save(NLCLGenerator(num_blocks=2).state_dict(), tmp_path / "nlcl.pth")
    arguments = ["restore", str(tmp_path / "in/0.png"), "-o", str(tmp_path / "out"), "--weights"]
    arguments += [str(tmp_path / "nlcl.pth"), "--device", "cpu"]
    assert main([*arguments, "--exemplar", str(tmp_path / "in")]) == 2
    assert "`--exemplar` must be left out for NLCLGenerator" in capsys.readouterr().err
    assert main([*arguments, "--exemplar", "auto", "--dtype", "bfloat16", "--self-ensemble"]) == 0


def test_the_commands_of_the_page(
    page_commands, repository, network, pictures, make_clip, tmp_path, monkeypatch, capsysbinary
):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    torch.save(network.state_dict(), "net_g_best.pth")
    for place in ("photos/a.png", "photos/deep/b.png", "more/c.jpg", "street.tif", "rainy/1.png", "rainy/2.png"):
        (tmp_path / place).parent.mkdir(exist_ok=True)
        Image.fromarray(pictures[len(place) % 4]).save(place)
    make_clip("walk.mp4", 2)
    page = (repository / "docs" / "restore.md").read_text()
    commands = page_commands("restore.md")
    assert len(commands) == 6
    for arguments in commands:
        pipe = "<" in arguments
        if pipe:
            *arguments, _, source, _, result = arguments
            monkeypatch.setattr(
                sys, "stdin", types.SimpleNamespace(buffer=io.BytesIO((tmp_path / source).read_bytes()))
            )
        capsysbinary.readouterr()
        assert main(arguments) == 0
        if pipe:
            (tmp_path / result).write_bytes(capsysbinary.readouterr().out)
    assert load("clean.png").shape == (40, 52, 3)
    found = sorted(str(path.relative_to("cleaned")) for path in Path("cleaned").rglob("*.*"))
    assert found == ["a.png", "c.png", "compare/a.png", "deep/b.png", "street.png", "walk.mp4"]
    options = set(re.findall(r"`(--[a-z-]+)`", page))
    for option in ("exemplar", "self-ensemble", "tile", "device", "dtype", "jobs", "force", "crf", "compare", "clean"):
        assert f"--{option}" in options
