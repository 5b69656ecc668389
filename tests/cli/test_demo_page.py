"""`basicsr demo` without a browser: arguments, and what the page's actions answer."""

import importlib.util
import re
import socket
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
import torch
from PIL import Image

from msgnn_plugin.archs import MSGNNArch, NLCLGenerator, UniRainArch
from msgnn_plugin.cli import demo
from msgnn_plugin.cli.main import main
from msgnn_plugin.memory import estimate_bytes

needs_gradio = pytest.mark.skipif(importlib.util.find_spec("gradio") is None, reason="needs gradio, extra [demo]")
SMALL = {"num_feat": 4, "num_blocks": 1, "num_groups": 2, "num_neighbors": 3, "window_size": 9}


def save_weights(path, network):
    path.parent.mkdir(exist_ok=True)
    torch.save({"params": network.state_dict()}, path)
    return path


@pytest.fixture
def weights(tmp_path):
    torch.manual_seed(0)
    return save_weights(tmp_path / "net.pth", MSGNNArch(**SMALL))


@pytest.fixture
def pictures(tmp_path, make_pair):
    paths = [tmp_path / "first $1$.png", tmp_path / "second.png"]
    for seed, path in enumerate(paths):
        Image.fromarray(make_pair(seed)[0]).save(path)
    return [str(path) for path in paths]


@pytest.fixture
def make_actions(tmp_path, monkeypatch):
    monkeypatch.setenv("GRADIO_ANALYTICS_ENABLED", "False")
    from msgnn_plugin.cli.demo_actions import PageActions
    from msgnn_plugin.cli.demo_models import DemoModels

    folder = tmp_path / "served"
    folder.mkdir()

    def make(*weights, max_pixels=10**6, **settings):
        models = DemoModels([str(path) for path in weights], device="cpu", max_pixels=max_pixels, **settings)
        return PageActions(models, folder)

    return make


def restored(tmp_path, picture, weights, *more):
    """What `basicsr restore` makes of a picture."""
    out = tmp_path / "restored"
    arguments = ["restore", picture, "-o", out, "--weights", weights, "--device", "cpu", "--force", *more]
    assert main([*map(str, arguments)]) == 0
    return cv2.imread(str(out / f"{Path(picture).stem}.png"), cv2.IMREAD_UNCHANGED)


def downloaded(answer):
    message, slider, download = answer
    assert "done in" in message, message
    assert slider["value"][0].shape == slider["value"][1].shape
    return cv2.imread(download["value"], cv2.IMREAD_UNCHANGED)


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ([], "`--weights` must name a weights file"),
        (["--port", "65536"], "`--port` must be from 0 to 65535, got 65536"),
        (["--jobs", "0"], "`--jobs` must be at least 1, got 0"),
        (["--max-megabytes", "0"], "`--max-megabytes` must be above 0, got 0"),
        (["--max-megapixels", "0"], "`--max-megapixels` must be above 0 and at most 178"),
        (["--max-megapixels", "1000"], "`--max-megapixels` must be above 0 and at most 178"),
    ],
)
def test_wrong_use_is_told(capsys, weights, arguments, sentence):
    given = ["--weights", str(weights)] if arguments else []
    assert main(["demo", *given, *arguments]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert sentence in line


def test_missing_gradio_is_told(capsys, weights, monkeypatch):
    for name in [name for name in sys.modules if name.startswith("msgnn_plugin.cli.demo_")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "gradio", None)
    assert main(["demo", "--weights", str(weights)]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert 'pip install "msgnn_plugin[demo]"' in line


@needs_gradio
def test_a_taken_port_is_told(capsys, weights, tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        assert main(["demo", "--weights", str(weights), "--port", str(port)]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert f"`--port` must be free and `--host` an address of this machine, got 127.0.0.1 port {port}" in line


@pytest.mark.parametrize("host", ["127.0.0.1", "127.1.2.3", "localhost", "::1"])
def test_this_machine_alone_needs_no_warning(host, recwarn):
    demo._check(SimpleNamespace(weights=["w"], host=host, port=1, jobs=1, max_megabytes=1, max_megapixels=1))
    assert not recwarn


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.7", "rain.example.org"])
def test_a_page_open_to_others_is_warned_of(host):
    with pytest.warns(UserWarning, match=re.escape(f"`--host {host}` lets everyone who reaches this machine")):
        demo._check(SimpleNamespace(weights=["w"], host=host, port=1, jobs=1, max_megabytes=1, max_megapixels=1))


@needs_gradio
class TestActions:
    def test_names_are_the_files_without_folders(self, make_actions, tmp_path):
        paths = [save_weights(tmp_path / folder / "net_g_best.pth", MSGNNArch(**SMALL)) for folder in ("a", "b")]
        assert make_actions(*paths).models.names == ["net_g_best.pth", "net_g_best.pth (2)"]

    def test_downloads_are_what_restore_writes(self, make_actions, weights, pictures, tmp_path):
        deep = np.random.default_rng(0).integers(0, 65536, (40, 50), np.uint16)
        cv2.imwrite(str(tmp_path / "deep.tif"), deep)
        actions = make_actions(weights)
        for picture in (pictures[0], str(tmp_path / "deep.tif")):
            result = downloaded(actions.derain(picture, "net.pth", "self", None))
            expected = restored(tmp_path, picture, weights)
            assert result.dtype == expected.dtype
            np.testing.assert_array_equal(result, expected)
        assert result.shape == (40, 50)
        assert result.dtype == np.uint16

    def test_exemplars_are_those_of_restore(self, make_actions, pictures, tmp_path, make_pair):
        network = MSGNNArch(**SMALL)
        bank = np.stack([make_pair(seed)[0][:64, :64] for seed in (5, 6)])
        network.set_exemplar_bank(torch.from_numpy(bank).permute(0, 3, 1, 2))
        weights = save_weights(tmp_path / "bank.pth", network)
        folder = tmp_path / "rainy"
        folder.mkdir()
        for seed in (7, 8):
            Image.fromarray(make_pair(seed, (70, 80))[0]).save(folder / f"{seed}.png")
        actions = make_actions(weights, exemplars=str(folder))
        given = {"bank": "auto", "folder": folder, "self": "self", "own": pictures[1]}
        assert [choice for _, choice in actions.models.exemplars("bank.pth")] == list(given)
        for choice, argument in given.items():
            result = downloaded(actions.derain(pictures[0], "bank.pth", choice, pictures[1]))
            expected = restored(tmp_path, pictures[0], weights, "--exemplar", argument)
            np.testing.assert_array_equal(result, expected)
        for path in folder.iterdir():
            path.unlink()
        message = actions.derain(pictures[0], "bank.pth", "folder", None)[0]
        assert "the exemplar among this server&#x27;s pictures cannot be read any more" in message
        assert str(tmp_path) not in message

    def test_only_what_a_model_has_is_offered(self, make_actions, weights, tmp_path):
        plain = save_weights(tmp_path / "plain.pth", MSGNNArch(**SMALL, use_exemplar=False))
        nlcl = save_weights(tmp_path / "nlcl.pth", NLCLGenerator(num_feat=4, num_blocks=1))
        actions = make_actions(weights, plain, nlcl)
        for choice in ("self", "own"):
            own, _, figure = actions.choose_exemplar("net.pth", choice)
            assert own["visible"] == (choice == "own")
            assert not figure["visible"]
        assert [choice for _, choice in actions.models.exemplars("net.pth")] == ["self", "own"]
        for name in ("plain.pth", "nlcl.pth"):
            exemplar, own, caption, _ = actions.choose_model(name)
            assert not exemplar["visible"]
            assert not own["visible"]
            assert ("no graph" in caption) == (name == "nlcl.pth")

    def test_bad_files_are_told_without_folders(self, make_actions, weights, pictures, tmp_path):
        actions = make_actions(weights, max_pixels=144 * 96)
        Image.new("RGB", (145, 96)).save(tmp_path / "large.png")
        (tmp_path / "<b>notes.txt").write_text("no picture")
        cut = tmp_path / "cut.png"
        cut.write_bytes(Path(pictures[0]).read_bytes()[:500])
        bad = {
            tmp_path / "<b>notes.txt": "&lt;b&gt;notes.txt: the file must be a picture",
            cut: "cut.png: the picture must be complete",
            tmp_path / "large.png": "large.png: a picture must have at most 13,824 pixels, got more",
            tmp_path / "gone.png": "gone.png: the upload is not kept any more; drop the picture again.",
        }
        for path, sentence in bad.items():
            shown = actions.show(str(path), "net.pth")
            run = actions.derain(str(path), "net.pth", "self", None)
            found = actions.find(str(path), "net.pth", "self", None, None, SimpleNamespace(index=[1, 1]))
            for message in (shown[0], run[0], found[0]):
                assert sentence in message
                assert str(tmp_path) not in message
            assert shown[1]["value"] is shown[5] is run[1]["value"] is run[2]["value"] is found[1]["value"] is None
        assert "there is no picture yet" in actions.derain(None, "net.pth", "self", None)[0]

    def test_a_missing_or_bad_exemplar_is_told(self, make_actions, weights, pictures, tmp_path):
        actions = make_actions(weights)
        assert "there is no exemplar yet" in actions.derain(pictures[0], "net.pth", "own", None)[0]
        (tmp_path / "bad.png").write_text("no picture")
        message = actions.derain(pictures[0], "net.pth", "own", str(tmp_path / "bad.png"))[0]
        assert ">bad.png: the file must be a picture" in message

    def test_too_little_memory_is_told(self, make_actions, weights, pictures, monkeypatch):
        actions = make_actions(weights)
        monkeypatch.setattr("msgnn_plugin.tiling.available_bytes", lambda device: 10**6)
        click = SimpleNamespace(index=[1, 1])
        for message in (
            actions.derain(pictures[1], "net.pth", "self", None)[0],
            actions.find(pictures[1], "net.pth", "self", None, None, click)[0],
        ):
            assert re.search("second.png: 144 x 96 pixels need about .* of memory, more than the", message), message

    def test_what_needs_tiles_is_derained_but_not_searched(
        self, make_actions, weights, tmp_path, make_pair, monkeypatch
    ):
        Image.fromarray(make_pair(1, (300, 300))[0]).save(tmp_path / "large.png")
        actions = make_actions(weights)
        needed = estimate_bytes(MSGNNArch(**SMALL), (300, 300), (300, 300))
        monkeypatch.setattr("msgnn_plugin.tiling.available_bytes", lambda device: needed - 1)
        picture, click = str(tmp_path / "large.png"), SimpleNamespace(index=[1, 1])
        downloaded(actions.derain(picture, "net.pth", "self", None))
        caption, figure, _ = actions.find(picture, "net.pth", "self", None, None, click)
        assert "large.png: 300 x 300 pixels need more memory than is available; take a smaller picture" in caption
        assert not figure["visible"]

    def test_networks_of_unknown_memory_run_in_tiles(self, make_actions, tmp_path, pictures, monkeypatch):
        tiny = {"num_feat": 4, "num_blocks": (1, 1, 1, 1), "num_refinement": 1, "num_heads": (1, 1, 2, 2)}
        weights = save_weights(tmp_path / "unirain.pth", UniRainArch(**tiny))
        monkeypatch.setattr("msgnn_plugin.cli.demo_models.UNKNOWN_TILE", 64)
        result = downloaded(make_actions(weights).derain(pictures[0], "unirain.pth", None, None))
        np.testing.assert_array_equal(result, restored(tmp_path, pictures[0], weights, "--tile", "64"))

    def test_users_results_do_not_mix(self, make_actions, weights, tmp_path):
        files = []
        for number in range(6):
            colour = tuple(int(value) for value in np.random.default_rng(number).integers(0, 256, 3))
            files.append(str(tmp_path / f"{number % 3}" / "same name.png"))
            Path(files[-1]).parent.mkdir(exist_ok=True)
            Image.new("RGB", (30 + number % 3, 40), colour).save(files[-1])
        one_by_one, actions = make_actions(weights), make_actions(weights, jobs=3)
        alone = {file: downloaded(one_by_one.derain(file, "net.pth", "self", None)) for file in files}
        with ThreadPoolExecutor(3) as pool:
            answers = list(pool.map(lambda file: actions.derain(file, "net.pth", "self", None), files * 2))
        assert len({answer[2]["value"] for answer in answers}) == len(answers)
        for file, answer in zip(files * 2, answers):
            np.testing.assert_array_equal(downloaded(answer), alone[file])

    def test_neighbours_are_those_of_graph(self, make_actions, weights, pictures, tmp_path):
        actions = make_actions(weights)
        figure = tmp_path / "fig.png"
        arguments = [pictures[0], "--weights", weights, "--exemplar", pictures[1], "-o", figure]
        found = None
        for x, y in ((100, 40), (3, 90)):
            click = SimpleNamespace(index=[x, y])
            caption, shown, kept = actions.find(pictures[0], "net.pth", "own", pictures[1], found, click)
            assert shown["visible"]
            assert "weight" in caption
            assert main(["graph", *map(str, arguments), "--at", f"{x},{y}"]) == 0
            np.testing.assert_array_equal(shown["value"], np.asarray(Image.open(figure).convert("RGB")))
            # The second patch of a picture needs no second search; another exemplar does.
            assert (kept is found) == (found is not None)
            found = kept
        other = actions.find(pictures[0], "net.pth", "self", pictures[1], found, click)[2]
        assert other is not found

    def test_neighbours_are_those_of_the_network(self, make_actions, weights, pictures):
        *_, (_, found) = make_actions(weights).find(
            pictures[0], "net.pth", "own", pictures[1], None, SimpleNamespace(index=[0, 0])
        )
        images = [np.asarray(Image.open(picture), np.float32) / 255 for picture in pictures]
        inputs = [torch.from_numpy(image).permute(2, 0, 1)[None] for image in images]
        network = MSGNNArch.from_state_dict(torch.load(weights)).eval()
        for name, expected in network.neighbors(*inputs).items():
            torch.testing.assert_close(found[name].image, expected.image)
            assert torch.equal(found[name].index, expected.index)
            torch.testing.assert_close(found[name].weight, expected.weight)

    def test_no_graph_is_told(self, make_actions, pictures, tmp_path):
        actions = make_actions(save_weights(tmp_path / "nlcl.pth", NLCLGenerator(num_feat=4, num_blocks=1)))
        caption, figure, _ = actions.find(pictures[0], "nlcl.pth", None, None, None, SimpleNamespace(index=[1, 1]))
        assert "no graph" in caption
        assert not figure["visible"]
        downloaded(actions.derain(pictures[0], "nlcl.pth", None, None))

    def test_large_pictures_are_shown_small_and_clicked_at_their_own_pixels(
        self, make_actions, weights, tmp_path, monkeypatch
    ):
        Image.new("RGB", (2400, 40)).save(tmp_path / "wide.png")
        actions = make_actions(weights)
        shown = actions.show(str(tmp_path / "wide.png"), "net.pth")[5]
        assert shown.shape == (27, 1600, 3)
        places = []

        def draw(network, rgb, found, at, name):
            from matplotlib.figure import Figure

            places.append(at)
            return Figure(figsize=(1, 1))

        monkeypatch.setattr("msgnn_plugin.cli.demo_models.draw_neighbors", draw)
        monkeypatch.setattr(actions.models, "search", lambda request: {})
        for click in ((0, 0), (800, 13), (1599, 26)):
            index = SimpleNamespace(index=list(click))
            actions.find(str(tmp_path / "wide.png"), "net.pth", "self", None, None, index)
        assert places == [(0, 0), (1200, 20), (2399, 39)]


@needs_gradio
def test_commands_of_the_page(page_commands, tmp_path, monkeypatch, weights, make_pair):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path))
    monkeypatch.setenv("GRADIO_ANALYTICS_ENABLED", "False")
    pages = []
    monkeypatch.setattr("msgnn_plugin.cli.demo_server.serve", lambda page, port, **more: pages.append(page))
    weights.rename("net_g_best.pth")
    save_weights(tmp_path / "latest_net_Back.pth", NLCLGenerator(num_feat=4, num_blocks=1))
    (tmp_path / "rainy").mkdir()
    Image.fromarray(make_pair(1)[0]).save("rainy/a.png")
    commands = page_commands("demo.md")
    assert len(commands) >= 3
    for command in commands:
        with pytest.warns(UserWarning, match="lets everyone") if "--host" in command else nullcontext():
            assert main([*command, "--port", "0"]) == 1  # the server has "ended by itself"
    assert len(pages) == len(commands)
    assert not [path for path in tmp_path.iterdir() if path.name.startswith("basicsr-demo-")]
