import importlib.util

import pytest

pytest.importorskip("skimage")


@pytest.fixture
def demo(repository, tmp_path, monkeypatch):
    spec = importlib.util.spec_from_file_location("demo", repository / "scripts/demo.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    monkeypatch.setattr(module, "DEMO", tmp_path / "demo")
    return module


def test_held_out_photographs_are_as_rainy_as_promised(demo):
    for number, name in enumerate(demo.HELD_OUT):
        clean = demo.read_photograph(name)
        demo.write_pair("test", demo.stem(name), clean, seed=(1000, number))
        rainy = demo.read_test_picture("rain", demo.stem(name))
        assert demo.INPUT_RANGE[0] <= demo.measure_psnr(rainy, clean) <= demo.INPUT_RANGE[1], name
        assert (demo.read_test_picture("norain", demo.stem(name)) == clean).all()


def test_training_shares_no_photograph_with_the_test(demo):
    assert not set(demo.HELD_OUT) & set(demo.TRAINING)
    assert all((demo.PHOTOGRAPHS / name).is_file() for name in (*demo.HELD_OUT, *demo.TRAINING))


@pytest.mark.parametrize("name", ["coins.png", "rocket.jpg"])
def test_tiles_are_equal_and_fit_a_crop(demo, name):
    photograph = demo.read_photograph(name)
    tiles = demo.cut_tiles(photograph)
    assert len({tile.shape for tile in tiles}) == 1
    assert all(64 <= side <= demo.TILE for side in tiles[0].shape[:2])
    assert len(tiles) * tiles[0].size > 0.98 * photograph.size


@pytest.mark.parametrize(
    ("rainy", "opening", "network", "complaint"),
    [
        (24.0, 26.0, 28.0, None),
        (21.0, 26.0, 28.0, "the rainy input must have"),
        (24.0, 24.0, 25.5, "the gain over the rainy input must be at least"),
        (24.0, 27.5, 28.0, "the lead over the best filter must be at least"),
    ],
)
def test_a_missed_promise_is_told(demo, rainy, opening, network, complaint):
    row = {"rainy": rainy, "median": 20.0, "Gaussian": 20.0, "opening": opening, "MSGNN": network}
    complaints = demo.report([("photograph", {method: (psnr, 0.9) for method, psnr in row.items()})])
    assert len(complaints) == (complaint is not None)
    assert complaint is None or complaint in complaints[0]
