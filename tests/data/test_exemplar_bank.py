import numpy as np
import torch

from msgnn_plugin.archs import MSGNNArch
from msgnn_plugin.data.exemplar_bank import ExemplarBank, as_bytes, pack_bank
from msgnn_plugin.data.image_file import Picture
from msgnn_plugin.data.synthesis import add_streaks
from msgnn_plugin.restoration import Restorer

SMALL = {"num_feat": 4, "num_blocks": 1, "num_groups": 2, "scales": (1,), "num_neighbors": 2, "window_size": 3}
ANGLES = (-40, -10, 20, 50)


def rainy_picture(angle, seed, size=(96, 96)):
    rng = np.random.default_rng(seed)
    clean = np.broadcast_to(rng.integers(20, 150, 3).astype(np.uint8), (*size, 3))
    return add_streaks(clean, angle=angle, density=0.4, rng=rng)[0]


def as_tensor(pixels):
    return torch.from_numpy(pixels).permute(2, 0, 1)[None].float() / 255


def make_bank():
    return pack_bank([rainy_picture(angle, 100 + number) for number, angle in enumerate(ANGLES)])


def test_the_nearest_of_the_bank_has_the_same_rain():
    images = make_bank()
    bank = ExemplarBank(images)
    for seed in range(3):
        for number, angle in enumerate(ANGLES):
            chosen = bank.nearest(as_tensor(rainy_picture(angle, seed, (130, 170))))
            assert torch.equal(chosen, images[number : number + 1].float() / 255)


def test_no_bank_where_none_is_stored_or_looked_at():
    network = MSGNNArch(**SMALL)
    assert ExemplarBank.of(network) is None
    network.set_exemplar_bank(make_bank())
    assert torch.equal(ExemplarBank.of(network).images, make_bank())
    without = MSGNNArch(**SMALL, use_exemplar=False)
    without.set_exemplar_bank(make_bank())
    assert ExemplarBank.of(without) is None
    assert ExemplarBank.of(torch.nn.Identity()) is None


def test_bytes_are_the_pixels_again():
    pixels = rainy_picture(10, 0)
    np.testing.assert_array_equal(as_bytes(as_tensor(pixels)[0]), pixels)
    assert as_bytes(torch.tensor([-1.0, 2.0, 0.5]).view(3, 1, 1)).tolist() == [[[0, 255, 128]]]


def test_restoring_takes_the_nearest_of_the_bank_unless_told_otherwise():
    torch.manual_seed(0)
    network = MSGNNArch(**SMALL).eval()
    network.set_exemplar_bank(make_bank())
    pixels = rainy_picture(ANGLES[2], 7, (60, 70))
    picture, rainy = Picture(pixels.astype(np.float32) / 255), as_tensor(pixels)
    other = rainy_picture(5, 8).astype(np.float32) / 255
    given = {
        None: make_bank()[2:3].float() / 255,
        "self": rainy,
        "other": torch.from_numpy(other).permute(2, 0, 1)[None],
    }
    results = []
    for name, exemplar in given.items():
        with torch.no_grad():
            expected = network(rainy, exemplar).clamp(0, 1)[0].permute(1, 2, 0).numpy()
        restorer = Restorer(network, torch.device("cpu"), other if name == "other" else name)
        results.append(restorer(picture))
        np.testing.assert_allclose(results[-1], expected, atol=1e-6)
    assert np.abs(results[0] - results[1]).max() > 1e-4 < np.abs(results[0] - results[2]).max()
