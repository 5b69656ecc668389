import io
import os
import pickle
import re
import struct
import subprocess
import sys
import zlib
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from PIL import Image, ImageOps

from msgnn_plugin.archs import FAMILIES, MSGNNArch, NLCLGenerator
from msgnn_plugin.cli.main import main
from msgnn_plugin.memory import estimate_bytes

SMALL = {"num_feat": 4, "num_blocks": 1, "num_groups": 2, "scales": (1,), "num_neighbors": 2, "window_size": 3}
BAD = ("broken.png", "broken.jpg", "empty.png", "text.png")


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    """A network whose head is zero gives its input back, so every written picture is known to the last bit."""
    network = MSGNNArch(**SMALL)
    for parameter in network.head[-1].parameters():
        torch.nn.init.zeros_(parameter)
    path = tmp_path_factory.mktemp("weights") / "same.pth"
    torch.save({"params": network.state_dict()}, path)
    return path


def values(channels, dtype=np.uint8, size=(21, 26)):
    rng = np.random.default_rng(channels)
    return rng.integers(0, np.iinfo(dtype).max + 1, (*size, channels)).astype(dtype)


def save(path, pixels, **options):
    Image.fromarray(pixels[..., 0] if pixels.shape[2] == 1 else pixels).save(path, **options)


def save_16_bit(path, pixels):
    """Write RGB(A) or grey with OpenCV, which takes BGR(A)."""
    order = [2, 1, 0, 3][: pixels.shape[2]] if pixels.shape[2] > 1 else [0]
    path.write_bytes(cv2.imencode(".png", pixels[..., order])[1].tobytes())


def load(path):
    pixels = cv2.imdecode(np.fromfile(path, np.uint8), cv2.IMREAD_UNCHANGED)
    return pixels[..., None] if pixels.ndim == 2 else pixels[..., [2, 1, 0, 3][: pixels.shape[2]]]


@pytest.fixture
def folder(tmp_path):
    """The folder of a careless user, and what each good file must come out as."""
    root = tmp_path / "in"
    root.mkdir()
    expected = {}
    for name, channels in (("rgb", 3), ("grey", 1), ("rgba", 4)):
        expected[name] = values(channels)
        save(root / f"{name}.png", expected[name])
    for name, channels in (("rgb16", 3), ("grey16", 1), ("rgba16", 4)):
        expected[name] = values(channels, np.uint16)
        save_16_bit(root / f"{name}.png", expected[name])
    for name, size in (("1x1", (1, 1)), ("2x500", (2, 500)), ("500x2", (500, 2)), ("37x53", (37, 53))):
        expected[name] = values(3, size=size)
        save(root / f"{name}.png", expected[name])
    expected["Straße im Regen 雨"] = values(3)
    save(root / "Straße im Regen 雨.png", expected["Straße im Regen 雨"])

    palette = Image.fromarray(values(3)).quantize(16)
    palette.save(root / "palette.png")
    expected["palette"] = np.asarray(palette.convert("RGB"))
    palette.save(root / "palette_alpha.png", transparency=bytes([0, 90]))
    expected["palette_alpha"] = np.asarray(Image.open(root / "palette_alpha.png").convert("RGBA"))

    exif = Image.Exif()
    exif[0x0112] = 6
    save(root / "rotated.jpg", values(3), exif=exif)
    expected["rotated"] = np.asarray(ImageOps.exif_transpose(Image.open(root / "rotated.jpg")))
    assert expected["rotated"].shape == (26, 21, 3)
    save(root / "jpeg_named.png", values(3), format="JPEG")
    expected["jpeg_named"] = np.asarray(Image.open(root / "jpeg_named.png"))

    for name in ("broken.png", "broken.jpg"):
        buffer = io.BytesIO()
        save(buffer, values(3, size=(60, 70)), format="PNG" if name.endswith("png") else "JPEG")
        (root / name).write_bytes(buffer.getvalue()[: len(buffer.getvalue()) // 2])
    (root / "empty.png").touch()
    (root / "text.png").write_text("not a picture")
    (root / "notes.txt").write_text("no picture and not named like one")
    return root, expected


def restore(*arguments):
    return main(["restore", *map(str, arguments), "--device", "cpu"])


def test_the_folder_of_a_careless_user(folder, weights, tmp_path, capsys):
    root, expected = folder
    before = {path: path.read_bytes() for path in root.iterdir()}
    assert restore(root, "-o", tmp_path / "out", "--weights", weights) == 1
    written = {path.name for path in (tmp_path / "out").iterdir()}
    assert written == {f"{name}.png" for name in expected}
    for name, pixels in expected.items():
        result = load(tmp_path / "out" / f"{name}.png")
        assert result.dtype == pixels.dtype, name
        np.testing.assert_array_equal(result, pixels, err_msg=name)
    output = capsys.readouterr()
    errors = output.err.strip().splitlines()
    assert len(errors) == len(BAD)
    for name in BAD:
        assert sum(name in line for line in errors) == 1, name
    assert all(line.startswith("basicsr restore: error: ") for line in errors)
    good, total = len(expected), len(expected) + len(BAD)
    assert f"Restored {good} of {total} pictures into {tmp_path / 'out'}. {len(BAD)} failed" in output.out
    assert {path: path.read_bytes() for path in root.iterdir()} == before


def test_the_network_really_works_on_the_picture(tmp_path):
    torch.manual_seed(0)
    network = MSGNNArch(**SMALL).eval()
    torch.save(network.state_dict(), tmp_path / "net.pth")
    save(tmp_path / "rgba.png", values(4))
    save(tmp_path / "other.png", values(3, size=(30, 30)))
    arguments = (tmp_path / "rgba.png", "-o", tmp_path / "out", "--weights", tmp_path / "net.pth")
    tensors = [
        torch.from_numpy(values(*v)[..., :3]).permute(2, 0, 1)[None] / 255 for v in ((4,), (3, np.uint8, (30, 30)))
    ]
    for exemplar, extra in ((None, ()), (tensors[1], ("--exemplar", tmp_path / "other.png"))):
        assert restore(*arguments, *extra) == 0
        with torch.no_grad():
            derained = network(tensors[0], exemplar)[0].clamp(0, 1).permute(1, 2, 0).numpy()
        result = load(tmp_path / "out/rgba.png").astype(float)
        assert np.abs(result[..., :3] - derained * 255).max() <= 0.501
        np.testing.assert_array_equal(result[..., 3], values(4)[..., 3])


def test_an_exemplar_of_the_bank_unless_another_or_the_picture_itself_is_asked_for(tmp_path):
    torch.manual_seed(0)
    network = MSGNNArch(**SMALL).eval()
    image, other = values(3), values(3, size=(30, 30))
    network.set_exemplar_bank(torch.from_numpy(np.stack([other])).permute(0, 3, 1, 2))
    torch.save(network.state_dict(), tmp_path / "net.pth")
    save(tmp_path / "a.png", image)
    results = []
    for extra, exemplar in (((), other), (("--exemplar", "self"), image)):
        assert restore(tmp_path / "a.png", "-o", tmp_path / "out", "--weights", tmp_path / "net.pth", *extra) == 0
        rainy, exemplar = (torch.from_numpy(pixels).permute(2, 0, 1)[None] / 255 for pixels in (image, exemplar))
        with torch.no_grad():
            derained = network(rainy, exemplar)[0].clamp(0, 1).permute(1, 2, 0).numpy()
        results.append(load(tmp_path / "out/a.png").astype(float))
        assert np.abs(results[-1] - derained * 255).max() <= 0.501
    assert (results[0] != results[1]).any()


def test_recursion_keeps_sub_folders_and_takes_no_earlier_result(weights, tmp_path):
    root = tmp_path / "in"
    for place in ("a.png", "x/a.png", "x/y/b.png", ".hidden/c.png", "x/.d.png"):
        (root / place).parent.mkdir(parents=True, exist_ok=True)
        save(root / place, values(3))
    for _ in range(2):
        assert restore(root, "-o", root / "out", "--weights", weights, "--recursive") == 0
    found = sorted(str(path.relative_to(root / "out")) for path in (root / "out").rglob("*.png"))
    assert found == ["a.png", "x/a.png", "x/y/b.png"]


def test_without_recursion_only_the_folder_itself(weights, tmp_path):
    (tmp_path / "in/deep").mkdir(parents=True)
    save(tmp_path / "in/a.png", values(3))
    save(tmp_path / "in/deep/b.png", values(3))
    assert restore(tmp_path / "in", "-o", tmp_path / "out", "--weights", weights) == 0
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["a.png"]


def test_same_stems_do_not_overwrite_one_another(weights, tmp_path):
    (tmp_path / "b").mkdir()
    for name, channels in (("a.png", 3), ("a.bmp", 1), ("b/A.png", 4)):
        save(tmp_path / name, values(channels))
    inputs = [tmp_path / name for name in ("a.png", "a.bmp", "b/A.png", "a.png")]
    assert restore(*inputs, "-o", tmp_path / "out", "--weights", weights) == 0
    results = {path.name: load(path).shape[2] for path in (tmp_path / "out").iterdir()}
    assert results == {"a.png": 3, "a_2.png": 1, "A_3.png": 4}


def test_patterns_are_expanded(weights, tmp_path):
    for name in ("one.png", "two.png", "other.bmp"):
        save(tmp_path / name, values(3))
    (tmp_path / "one.txt").touch()
    save(tmp_path / "odd[1].png", values(3))
    pattern, literal = tmp_path / "[ot][nw]*", tmp_path / "odd[1].png"
    assert restore(pattern, literal, "-o", tmp_path / "out", "--weights", weights) == 0
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"one.png", "two.png", "odd[1].png"}


def test_compare_without_and_with_clean(weights, tmp_path):
    (tmp_path / "in").mkdir()
    (tmp_path / "clean").mkdir()
    for name, size in (("a", (40, 300)), ("tiny", (1, 1))):
        save(tmp_path / f"in/{name}.png", values(3, size=size))
        save(tmp_path / f"clean/{name}.bmp", values(1, size=size))
    arguments = (tmp_path / "in", "-o", tmp_path / "out", "--weights", weights, "--compare")
    assert restore(*arguments) == 0
    pair = load(tmp_path / "out/compare/a.png")
    assert restore(*arguments, "--clean", tmp_path / "clean") == 0
    strip = load(tmp_path / "out/compare/a.png")
    assert strip.shape[1] > 1.9 * pair.shape[1]
    picture = values(3, size=(40, 300))
    top = next(y for y in range(strip.shape[0]) if np.array_equal(strip[y, 8:308], picture[0]))
    np.testing.assert_array_equal(strip[top : top + 40, 8:308], picture)
    np.testing.assert_array_equal(strip[top : top + 40, 316:616], picture)
    np.testing.assert_array_equal(strip[top : top + 40, 624:924], np.repeat(values(1, size=(40, 300)), 3, axis=2))
    error = np.abs(picture / 255 - values(1, size=(40, 300)) / 255).mean(axis=2)
    scale = cv2.applyColorMap(np.rint(np.clip(error / 0.2, 0, 1) * 255).astype(np.uint8), cv2.COLORMAP_INFERNO)
    assert np.abs(strip[top : top + 40, 932:1232].astype(int) - scale[..., ::-1]).max() <= 4
    assert min(load(tmp_path / "out/compare/tiny.png").shape[:2]) > 96


def test_a_folder_called_compare_loses_nothing(weights, tmp_path):
    (tmp_path / "in/compare").mkdir(parents=True)
    save(tmp_path / "in/a.png", values(3))
    save(tmp_path / "in/compare/a.png", values(1))
    assert restore(tmp_path / "in", "-o", tmp_path / "out", "--weights", weights, "--recursive", "--compare") == 0
    np.testing.assert_array_equal(load(tmp_path / "out/compare/a.png"), values(1))
    assert (tmp_path / "out/compare/a_2.png").exists()
    assert (tmp_path / "out/compare/compare/a.png").exists()


def test_clean_of_another_size_fails_that_picture_alone(weights, tmp_path, capsys):
    for place, size in (("in/a", (9, 9)), ("in/b", (9, 9)), ("clean/a", (9, 8)), ("clean/b", (9, 9))):
        (tmp_path / place).parent.mkdir(exist_ok=True)
        save(tmp_path / f"{place}.png", values(3, size=size))
    arguments = (tmp_path / "in", "-o", tmp_path / "out", "--weights", weights, "--clean", tmp_path / "clean")
    assert restore(*arguments) == 1
    assert "a.png: make_comparison: `clean` must have the size" in capsys.readouterr().err
    assert (tmp_path / "out/compare/b.png").exists()


def test_out_of_memory_fails_that_picture_alone(weights, tmp_path, capsys, monkeypatch):
    (tmp_path / "in").mkdir()
    save(tmp_path / "in/big.png", values(3, size=(40, 40)))
    save(tmp_path / "in/small.png", values(3))
    forward = MSGNNArch.forward

    def scarce(self, rainy, *rest):
        if rainy.shape[-1] == 40:
            torch.empty(1 << 60, dtype=torch.uint8)  # The allocator's own words, whatever they are.
        return forward(self, rainy, *rest)

    monkeypatch.setattr(MSGNNArch, "forward", scarce)
    assert restore(tmp_path / "in", "-o", tmp_path / "out", "--weights", weights) == 1
    error = capsys.readouterr().err.strip()
    assert error.endswith(
        "big.png: the memory of the cpu does not suffice for 40 x 40 pixels; use smaller tiles (`--tile`)"
    )
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["small.png"]


def test_nan_is_an_error_not_a_black_picture(weights, tmp_path, capsys):
    state = torch.load(weights, weights_only=True)["params"]
    state["stem.weight"].fill_(torch.nan)
    state["head.2.weight"].fill_(1)
    torch.save(state, tmp_path / "nan.pth")
    save(tmp_path / "a.png", values(3))
    assert restore(tmp_path / "a.png", "-o", tmp_path / "out", "--weights", tmp_path / "nan.pth") == 1
    assert "a.png: the network gave values that are no numbers" in capsys.readouterr().err


def fails(capsys, *arguments):
    """Run, expect a refusal, return its one line."""
    assert restore(*arguments) == 2
    lines = capsys.readouterr().err.strip().splitlines()
    assert len(lines) == 1
    return lines[0]


def test_no_weights_says_how_to_get_some(folder, tmp_path, capsys):
    line = fails(capsys, folder[0], "-o", tmp_path / "out")
    assert "`--weights` must name a weights file" in line
    assert "basicsr train -opt" in line


def test_wrong_inputs_are_refused_before_work(weights, tmp_path, capsys):
    out = tmp_path / "out"
    common = ("-o", out, "--weights", weights)
    assert "INPUT must be a file, a folder or a pattern, got" in fails(capsys, tmp_path / "none.png", *common)
    assert "INPUT must match at least one picture, got" in fails(capsys, tmp_path / "*.png", *common)
    (tmp_path / "bare/sub").mkdir(parents=True)
    line = fails(capsys, tmp_path / "bare", *common)
    assert "INPUT must hold at least one picture" in line
    assert "--recursive" in line
    assert not out.exists()


def test_inputs_are_never_overwritten(weights, tmp_path, capsys):
    save(tmp_path / "a.png", values(3))
    before = (tmp_path / "a.png").read_bytes()
    line = fails(capsys, tmp_path, "-o", tmp_path, "--weights", weights)
    assert "would overwrite an input" in line
    assert (tmp_path / "a.png").read_bytes() == before


def test_a_link_out_of_the_folder_is_not_followed(weights, tmp_path, capsys):
    (tmp_path / "in/sub").mkdir(parents=True)
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "out").mkdir()
    save(tmp_path / "in/sub/a.png", values(3))
    (tmp_path / "out/sub").symlink_to(tmp_path / "elsewhere")
    line = fails(capsys, tmp_path / "in", "-o", tmp_path / "out", "--weights", weights, "--recursive")
    assert "must stay inside `-o`" in line
    assert list((tmp_path / "elsewhere").iterdir()) == []


def test_out_that_is_a_file_is_refused(weights, tmp_path, capsys):
    save(tmp_path / "a.png", values(3))
    line = fails(capsys, tmp_path / "a.png", "-o", weights, "--weights", weights)
    assert "`-o` must name a folder, got the file" in line


def test_clean_must_be_there_for_every_input(weights, tmp_path, capsys):
    save(tmp_path / "a.png", values(3))
    (tmp_path / "clean").mkdir()
    line = fails(capsys, tmp_path / "a.png", "-o", tmp_path / "o", "--weights", weights, "--clean", tmp_path / "clean")
    assert "must hold a picture of the same name for every input, got none for 'a.png' in " in line
    line = fails(capsys, tmp_path / "a.png", "-o", tmp_path / "o", "--weights", weights, "--clean", tmp_path / "none")
    assert "`--clean` must be a picture or a folder of some, got" in line
    assert not (tmp_path / "o").exists()


@pytest.mark.parametrize("content", [b"", b"nonsense", pickle.dumps({"stem": [1.0]}, 2)], ids=["empty", "text", "list"])
def test_unreadable_weights_are_refused(tmp_path, capsys, content):
    save(tmp_path / "a.png", values(3))
    (tmp_path / "w.pth").write_bytes(content)
    line = fails(capsys, tmp_path / "a.png", "-o", tmp_path / "out", "--weights", tmp_path / "w.pth")
    assert "w.pth" in line


class Code:
    def __init__(self, target):
        self.target = target

    def __reduce__(self):
        return os.mkdir, (self.target,)


def test_weights_with_code_inside_are_refused(tmp_path, capsys):
    save(tmp_path / "a.png", values(3))
    torch.save({"params": Code(str(tmp_path / "harm"))}, tmp_path / "w.pth")
    line = fails(capsys, tmp_path / "a.png", "-o", tmp_path / "out", "--weights", tmp_path / "w.pth")
    assert "code" in line
    assert not (tmp_path / "harm").exists()


def test_damaged_exemplar_is_refused(weights, tmp_path, capsys):
    save(tmp_path / "a.png", values(3))
    (tmp_path / "e.png").touch()
    common = ("-o", tmp_path / "out", "--weights", weights)
    assert "e.png" in fails(capsys, tmp_path / "a.png", *common, "--exemplar", tmp_path / "e.png")


def test_opencv_adds_no_lines_of_its_own(weights, tmp_path, repository):
    (tmp_path / "exemplars").mkdir()
    save(tmp_path / "a.png", values(3))
    whole = (tmp_path / "a.png").read_bytes()
    (tmp_path / "exemplars/cut.png").write_bytes(whole[: len(whole) // 2])
    arguments = ["restore", tmp_path / "a.png", "-o", tmp_path / "o", "--weights", weights]
    done = subprocess.run(
        [sys.executable, "-m", "msgnn_plugin.cli", *arguments, "--exemplar", tmp_path / "exemplars"],
        cwd=repository,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert "cut.png" in line


@pytest.mark.skipif(torch.cuda.is_available(), reason="needs a machine without a GPU")
def test_cuda_without_a_gpu_is_refused(weights, tmp_path, capsys):
    save(tmp_path / "a.png", values(3))
    arguments = ["restore", str(tmp_path / "a.png"), "-o", str(tmp_path / "out"), "--weights", str(weights)]
    assert main([*arguments, "--device", "cuda"]) == 2
    assert "needs a GPU" in capsys.readouterr().err


def test_a_bomb_fails_alone(weights, tmp_path, capsys):
    (tmp_path / "in").mkdir()
    save(tmp_path / "in/a.png", values(3))

    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", 99999, 99999, 8, 2, 0, 0, 0))
    bomb: Path = tmp_path / "in/bomb.png"
    bomb.write_bytes(b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(bytes(10))) + chunk(b"IEND", b""))
    assert restore(tmp_path / "in", "-o", tmp_path / "out", "--weights", weights) == 1
    assert "bomb.png: a picture must have at most" in capsys.readouterr().err
    assert (tmp_path / "out/a.png").exists()


@pytest.mark.parametrize("database", ["image", "tile"])
def test_pictures_in_tiles(weights, tmp_path, database):
    save(tmp_path / "odd.png", values(3, size=(61, 83)))
    save(tmp_path / "small.png", values(3, size=(5, 7)))
    options = ("--tile", "24", "--tile-overlap", "7", "--database", database)
    arguments = (tmp_path / "odd.png", tmp_path / "small.png", "-o", tmp_path / "out", "--weights", weights)
    assert restore(*arguments, *options) == 0
    # The weights give every picture back, so seams would show.
    for name, size in (("odd", (61, 83)), ("small", (5, 7))):
        np.testing.assert_array_equal(load(tmp_path / f"out/{name}.png"), values(3, size=size))


def test_tiles_really_cut_the_picture(weights, tmp_path, monkeypatch):
    save(tmp_path / "a.png", values(3, size=(40, 60)))
    seen = []
    forward = MSGNNArch.forward

    def watched(self, rainy, exemplar=None, pyramid=None, region=None):
        seen.append(region)
        return forward(self, rainy, exemplar, pyramid, region)

    monkeypatch.setattr(MSGNNArch, "forward", watched)
    common = (tmp_path / "a.png", "-o", tmp_path / "out", "--weights", weights)
    assert restore(*common, "--tile", "36", "--tile-overlap", "12") == 0
    assert seen == [((0, 27), (0, 36)), ((0, 27), (24, 60)), ((15, 40), (0, 36)), ((15, 40), (24, 60))]


def test_too_large_a_picture_is_named_with_a_remedy_and_the_rest_is_done(weights, tmp_path, capsys):
    (tmp_path / "in").mkdir()
    save(tmp_path / "in/big.png", values(3, size=(600, 600)))
    save(tmp_path / "in/small.png", values(3))
    network = MSGNNArch(**SMALL)
    room = (estimate_bytes(network, (600, 600), tile=128) + estimate_bytes(network, (600, 600))) / 2**31
    arguments = (tmp_path / "in", "-o", tmp_path / "out", "--weights", weights, "--memory", room)
    assert restore(*arguments) == 1
    error = capsys.readouterr().err.strip()
    assert "big.png: 600 x 600 pixels need about" in error
    assert "available; use `--tile " in error
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["small.png"]
    assert restore(*arguments, "--tile", "auto") == 0
    np.testing.assert_array_equal(load(tmp_path / "out/big.png"), values(3, size=(600, 600)))


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (("--tile", "0"), r"`tile` must be at least `tile_overlap` \+ 1 = 33 pixels, got 0"),
        (("--tile", "wide"), "`--tile` must be a whole number of pixels or auto, got 'wide'"),
        (("--tile", "64", "--tile-overlap", "-1"), "`tile_overlap` must be at least 0, got -1"),
        (
            ("--tile", "34"),
            r"`tile_overlap` \+ 3 = 35 pixels, where tiles start at multiples of stride x largest scale",
        ),
        (("--memory", "0"), "`memory` must be above 0 GiB, got 0"),
    ],
)
def test_wrong_tiles_are_refused(weights, tmp_path, capsys, options, sentence):
    save(tmp_path / "a.png", values(3))
    line = fails(capsys, tmp_path / "a.png", "-o", tmp_path / "out", "--weights", weights, *options)
    assert re.search(sentence, line)
    assert not (tmp_path / "out").exists()


@pytest.fixture
def nlcl(tmp_path):
    torch.manual_seed(0)
    network = NLCLGenerator(num_blocks=2).eval().requires_grad_(False)
    torch.save(network.state_dict(), tmp_path / "nlcl.pth")
    return network, tmp_path / "nlcl.pth"


@pytest.mark.parametrize("rounding", ["nearest", "truncate"])
@pytest.mark.parametrize("tile", [(), ("--tile", "40"), ("--tile", "auto")])
def test_nlcl_by_either_rounding_at_any_depth(nlcl, tmp_path, rounding, tile):
    network, weights = nlcl
    pictures = {"rgb": values(3, size=(61, 47)), "rgba16": values(4, np.uint16, size=(61, 47))}
    (tmp_path / "in").mkdir()
    save(tmp_path / "in/rgb.png", pictures["rgb"])
    save_16_bit(tmp_path / "in/rgba16.png", pictures["rgba16"])
    arguments = (tmp_path / "in", "-o", tmp_path / "out", "--weights", weights, "--model", "nlcl")
    assert restore(*arguments, "--rounding", rounding, *tile) == 0
    for name, pixels in pictures.items():
        result, steps = load(tmp_path / f"out/{name}.png"), np.iinfo(pixels.dtype).max
        derained = network(torch.from_numpy(pixels[..., :3].astype(np.float32)).permute(2, 0, 1)[None] / steps)
        wanted = derained[0].permute(1, 2, 0).double().numpy() * steps
        error = wanted - result[..., :3]
        slack = 1e-5 * steps
        low, high = (0, 1) if rounding == "truncate" else (-0.5, 0.5)
        assert low - slack <= error.min() < low + 0.1
        assert high - 0.1 < error.max() <= high + slack
        np.testing.assert_array_equal(result[..., 3:], pixels[..., 3:])


def test_weights_of_another_family_and_settings_that_are_not_nlcls_are_refused(nlcl, weights, tmp_path, capsys):
    from msgnn_plugin.cli.restore import MODELS

    assert set(MODELS) == set(FAMILIES)
    save(tmp_path / "a.png", values(3))
    arguments = (tmp_path / "a.png", "-o", tmp_path / "out")
    for model, file, word in (("nlcl", weights, "MSGNNArch"), ("msgnn", nlcl[1], "NLCLGenerator")):
        line = fails(capsys, *arguments, "--weights", file, "--model", model)
        assert re.search(rf"with `--model {model}`, got weights of {word} in", line)
    for option, value in (("exemplar", "self"), ("tile-overlap", "8"), ("database", "tile")):
        line = fails(capsys, *arguments, "--weights", nlcl[1], f"--{option}", value)
        assert re.search("must be left out for NLCLGenerator", line)
    assert not (tmp_path / "out").exists()


def test_tiny_flat_and_black_pictures_by_nlcl(nlcl, tmp_path):
    (tmp_path / "in").mkdir()
    for number, size in enumerate([(1, 1), (31, 33), (1, 40)]):
        save(tmp_path / f"in/{number}.png", values(3, size=size))
        save(tmp_path / f"in/black{number}.png", np.zeros((*size, 3), np.uint8))
        save(tmp_path / f"in/flat{number}.png", np.full((*size, 3), 90, np.uint8))
    assert restore(tmp_path / "in", "-o", tmp_path / "out", "--weights", nlcl[1]) == 0
    assert len(list((tmp_path / "out").iterdir())) == 9
