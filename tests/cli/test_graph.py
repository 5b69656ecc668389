"""`basicsr graph`: the figure shows what the network's own graph finds, and bad input is told in one sentence."""

import numpy as np
import pytest
import torch
from PIL import Image

from msgnn_plugin.archs import MSGNNArch, NLCLGenerator
from msgnn_plugin.cli.graph_figure import draw_neighbors
from msgnn_plugin.cli.main import main

pytest.importorskip("matplotlib")
SMALL = {"num_feat": 4, "num_blocks": 1, "num_groups": 2, "num_neighbors": 3, "window_size": 9}


def save_weights(path, network):
    torch.save({"params": network.state_dict()}, path)
    return path


@pytest.fixture
def inputs(tmp_path, make_pair):
    torch.manual_seed(0)
    picture, exemplar = tmp_path / "rain <b>$1$_{.png", tmp_path / "other.png"
    Image.fromarray(make_pair(1)[0]).save(picture)
    Image.fromarray(make_pair(2)[0][:50]).save(exemplar)
    return picture, exemplar, save_weights(tmp_path / "w.pth", MSGNNArch(**SMALL))


def draw(picture, weights, *more, at="100,40", out="fig.png"):
    return main(["graph", str(picture), "--weights", str(weights), "--at", at, "-o", str(out), *map(str, more)])


@pytest.mark.parametrize("suffix", ["png", "svg"])
def test_figure_is_written(inputs, tmp_path, capsys, suffix):
    picture, exemplar, weights = inputs
    out = tmp_path / "new" / f"fig.{suffix}"
    assert draw(picture, weights, "--exemplar", exemplar, out=out) == 0
    assert "the patch at 100,40 in scale1, scale2, scale4, exemplar" in capsys.readouterr().out
    if suffix == "png":
        pixels = np.asarray(Image.open(out).convert("RGB"))
        assert pixels.shape[1] > 1000
        assert len(np.unique(pixels.reshape(-1, 3), axis=0)) > 1000
    else:
        assert out.read_bytes().startswith(b"<?xml")
    assert [path.name for path in out.parent.iterdir()] == [out.name]


def test_crops_and_weights_are_what_the_network_searches(make_pair):
    torch.manual_seed(0)
    network = MSGNNArch(**SMALL).eval()
    rgb, other = (make_pair(seed)[0].astype(np.float32) / 255 for seed in (1, 2))
    rainy, exemplar = (torch.from_numpy(each).permute(2, 0, 1)[None] for each in (rgb, other[:50]))
    found = network.neighbors(rainy, exemplar)
    # Sides are multiples of the patch: pixel (100, 40) lies in row 13, column 33 of 48 columns.
    query = 13 * 48 + 33
    figure = draw_neighbors(network, rgb, found, (100, 40), "picture")
    shown = {axis.get_title(): axis for axis in figure.axes if axis.get_title().startswith(("the", "its", "exem"))}
    frame = shown["the patch"].patches[0]
    assert (frame.get_x(), frame.get_y(), frame.get_width()) == (98.5, 38.5, 3)
    for title, name in {"the picture": "scale1", "its quarter": "scale4", "exemplar": "exemplar"}.items():
        neighbors = found[name]
        height, width = neighbors.image.shape[2:]
        assert shown[title].images[0].get_size() == (height, width)
        squares = [line.get_data() for line in shown[title].lines if line.get_marker() == "s"]
        drawn = {(float(x[0]), float(y[0])) for x, y in squares}
        before = [((-side) % 3) // 2 for side in (height, width)]
        columns = -(-width // 3)
        expected = {
            (int(index) % columns * 3 - before[1] + 1.0, int(index) // columns * 3 - before[0] + 1.0)
            for index in neighbors.index[0, query]
        }
        assert drawn == expected
    written = sorted(float(axis.get_title()) for axis in figure.axes if axis.get_title()[:1].isdigit())
    weights = torch.cat([each.weight[0, query] for each in found.values()])
    np.testing.assert_allclose(written, sorted(weights.tolist()), atol=6e-4)


def test_the_authors_graph_and_a_tiny_picture_are_drawn(inputs, tmp_path):
    weights = save_weights(tmp_path / "official.pth", MSGNNArch(**SMALL, variant="official"))
    assert draw(inputs[0], weights, out=tmp_path / "official.png") == 0
    Image.new("RGB", (2, 1)).save(tmp_path / "tiny.png")
    assert draw(tmp_path / "tiny.png", inputs[2], at="1,0", out=tmp_path / "tiny_fig.png") == 0


def test_the_bank_serves_where_no_exemplar_is_given(inputs, tmp_path, make_pair):
    picture, _, _ = inputs
    network = MSGNNArch(**SMALL)
    network.set_exemplar_bank(torch.from_numpy(make_pair(3)[0][None, :64, :64]).permute(0, 3, 1, 2))
    weights = save_weights(tmp_path / "bank.pth", network)
    assert draw(picture, weights, out=tmp_path / "bank.png") == 0


@pytest.mark.parametrize("at", ["144,0", "0,96", "-1,3", "3", "3,4,5", "a,b", "", "1.5,2"])
def test_a_place_outside_the_picture_is_told(inputs, tmp_path, capsys, at):
    picture, _, weights = inputs
    assert main(["graph", str(picture), "--weights", str(weights), f"--at={at}", "-o", str(tmp_path / "f.png")]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert f"`--at` must be X,Y in whole pixels inside the picture, X in [0, 143] and Y in [0, 95], got {at!r}" in line
    assert not (tmp_path / "f.png").exists()


def test_what_has_no_graph_is_told(inputs, tmp_path, capsys):
    picture, exemplar, weights = inputs
    others = {
        "of MSGNNArch, the network with a graph, got weights of NLCLGenerator": NLCLGenerator(num_feat=4, num_blocks=1),
        "of a network with a graph, got one without": MSGNNArch(**SMALL | {"num_groups": 1}),
    }
    for sentence, network in others.items():
        assert draw(picture, save_weights(tmp_path / "other.pth", network), out=tmp_path / "f.png") == 2
        (line,) = capsys.readouterr().err.splitlines()
        assert sentence in line
    alone = save_weights(tmp_path / "alone.pth", MSGNNArch(**SMALL, use_exemplar=False))
    assert draw(picture, alone, "--exemplar", exemplar, out=tmp_path / "f.png") == 2
    assert "`--exemplar` must be left out" in capsys.readouterr().err
    assert draw(picture, alone, out=tmp_path / "f.png") == 0
    assert draw(picture, weights, out=tmp_path / "f.gif") == 2
    assert "`-o` must end in .png, .svg or .pdf" in capsys.readouterr().err
    assert draw(exemplar.with_name("gone.png"), weights, out=tmp_path / "g.png") == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "gone.png must be a path to read" in line
