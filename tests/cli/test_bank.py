"""`basicsr bank` as a user types it."""

import cv2
import numpy as np
import pytest
import torch

from msgnn_plugin.archs import MSGNNArch, from_state_dict, load_weights
from msgnn_plugin.cli.main import main
from msgnn_plugin.data.synthesis import add_streaks

SMALL = {"num_feat": 4, "num_blocks": 1, "num_groups": 2, "scales": (1,), "num_neighbors": 2, "window_size": 3}
ANGLES = (-40, -10, 20, 50)


@pytest.fixture
def weights(tmp_path):
    torch.manual_seed(0)
    torch.save({"params": MSGNNArch(**SMALL).state_dict()}, tmp_path / "net.pth")
    return tmp_path / "net.pth"


@pytest.fixture
def pictures(tmp_path):
    """Three pictures of each of four rains, whose ground colour tells the rain."""
    folder = tmp_path / "rainy"
    folder.mkdir()
    for number in range(12):
        rng = np.random.default_rng(number)
        clean = np.full((70, 80, 3), (20, 20 + 10 * (number % 4), 120), np.uint8)
        rainy = add_streaks(clean, angle=ANGLES[number % 4], density=0.4, rng=rng)[0]
        cv2.imwrite(str(folder / f"{number}.png"), rainy[:, :, ::-1])
    return folder


def bank(*arguments):
    return main(["bank", *map(str, arguments)])


def kinds(images):
    """Tell which rains the pictures have, by the ground colour."""
    return [(int(image[1].min()) - 20) // 10 for image in images]


def holds(source, crop):
    windows = np.lib.stride_tricks.sliding_window_view(source, crop.shape)
    return (windows == crop).all(axis=(3, 4, 5)).any()


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_the_bank_covers_the_rains_and_the_weights_stay(weights, pictures, tmp_path, capsys, suffix):
    out = tmp_path / f"made/net{suffix}"
    assert bank(weights, pictures, "-o", out, "--count", 4, "--size", 64) == 0
    printed = capsys.readouterr().out
    assert "carries 4 of 12 pictures, 64 x 64 pixels each" in printed
    assert "licence" in printed
    before, after = from_state_dict(load_weights(weights)), from_state_dict(load_weights(out))
    assert after.exemplar_bank.shape == (4, 3, 64, 64)
    assert sorted(kinds(after.exemplar_bank)) == [0, 1, 2, 3]
    after = after.state_dict()
    different = [name for name, value in before.state_dict().items() if not torch.equal(value, after[name])]
    assert different == ["exemplar_bank"]


def test_the_same_seed_makes_the_same_bank_and_every_crop_is_of_its_picture(weights, pictures, tmp_path):
    banks = []
    for number, seed in enumerate((0, 0, 1)):
        assert bank(weights, pictures, "-o", tmp_path / f"{number}.pth", "--size", 48, "--seed", seed) == 0
        banks.append(from_state_dict(load_weights(tmp_path / f"{number}.pth")).exemplar_bank)
    assert torch.equal(banks[0], banks[1])
    assert not torch.equal(banks[0], banks[2])
    sources = [cv2.imread(str(path))[:, :, ::-1] for path in pictures.iterdir()]
    for image in banks[0][:4]:
        assert any(holds(source, image.permute(1, 2, 0).numpy()) for source in sources)


def test_a_bank_can_be_filled_anew_in_place(weights, pictures):
    for count in (3, 2):
        assert bank(weights, pictures / "1.png", pictures, "-o", weights, "--count", count, "--size", 32) == 0
        assert len(from_state_dict(load_weights(weights)).exemplar_bank) == count


def test_bad_pictures_are_told_and_the_others_used(weights, pictures, tmp_path, capsys):
    (pictures / "3.png").write_bytes((pictures / "3.png").read_bytes()[:300])
    cv2.imwrite(str(pictures / "5.png"), np.zeros((70, 20, 3), np.uint8))
    arguments = (weights, pictures, tmp_path / "missing.png", "-o", tmp_path / "out.pth", "--size", 64)
    assert bank(*arguments) == 1
    errors = capsys.readouterr().err.strip().splitlines()
    assert len(errors) == 3
    assert all(any(name in line for line in errors) for name in ("3.png", "missing.png"))
    assert any("5.png: must be at least `--size` = 64 pixels a side, got 20x70" in line for line in errors)
    assert len(from_state_dict(load_weights(tmp_path / "out.pth")).exemplar_bank) == 10


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--count", "0"], "`--count` must be at least 1, got 0"),
        (["--size", "0"], "`--size` must be at least 1, got 0"),
        (["--seed", "-1"], "`--seed` must be at least 0, got -1"),
        (["--size", "100"], "PICTURE must name at least one that can be used, got 12 that cannot"),
        (["-o", "net.zip"], "`-o` must end in .pth or .safetensors, got 'net.zip'"),
    ],
)
def test_wrong_arguments_write_nothing(weights, pictures, tmp_path, capsys, arguments, sentence):
    assert bank(weights, pictures, "-o", tmp_path / "out.pth", *arguments) == 2
    assert sentence in capsys.readouterr().err
    assert not (tmp_path / "out.pth").exists()


def test_wrong_weights_and_folders(weights, pictures, tmp_path, capsys):
    torch.save(MSGNNArch(**SMALL, use_exemplar=False).state_dict(), tmp_path / "other.pth")
    (tmp_path / "empty").mkdir()
    for inputs, sentence in {
        (tmp_path / "other.pth", pictures): "WEIGHTS must be of a network that uses exemplars",
        (pictures / "1.png", pictures): "load_weights: ",
        (weights, tmp_path / "empty"): "PICTURE must be a picture or a folder that holds some",
    }.items():
        assert bank(*inputs, "-o", tmp_path / "out.pth") == 2
        assert sentence in capsys.readouterr().err
    assert not (tmp_path / "out.pth").exists()


def test_a_picture_that_is_not_there_is_a_sentence_without_an_error_number(weights, pictures, tmp_path, capsys):
    assert bank(weights, pictures, tmp_path / "absent.png", "-o", tmp_path / "out.pth", "--size", 64) == 1
    error = capsys.readouterr().err
    assert "absent.png must be a path to read or write" in error
    assert "[Errno" not in error
