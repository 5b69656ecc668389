"""Pools made of crops of the photographs that scikit-image ships, under rain made to order."""

import cv2
import numpy as np
import pytest

PRESETS = ("rain200h", "rain200l", "rain1200_medium", "rain1400", "drs", "nrs")
_SIDE = 256


@pytest.fixture(scope="session")
def made_pairs():
    """Make pairs: (kind, (rainy, clean)), RGB uint8 256 x 256, no two of one background."""
    data = pytest.importorskip("skimage.data", reason="needs scikit-image, of the extra [distill]")
    from msgnn_plugin.data.synthesis import synthesize

    def make(count, seed=0, presets=PRESETS):
        rng = np.random.default_rng(seed)
        photographs = [data.astronaut(), data.coffee(), data.chelsea(), data.rocket(), data.stereo_motorcycle()[0]]
        crops = [
            image[top : top + _SIDE, left : left + _SIDE]
            for image in photographs
            for top in range(0, image.shape[0] - _SIDE + 1, 128)
            for left in range(0, image.shape[1] - _SIDE + 1, 128)
        ]
        # Dark or flat places tell nothing of faults in the pictures.
        crops = [crop for crop in crops if crop.std() > 35]
        crops += [crop[:, ::-1] for crop in crops]
        assert len(crops) >= count
        pairs = []
        for number, place in enumerate(rng.permutation(len(crops))[:count]):
            preset = presets[number % len(presets)]
            made = synthesize(np.ascontiguousarray(crops[place]), preset, rng)
            pairs.append((preset, (made.rainy, made.clean)))
        return pairs

    return make


@pytest.fixture(scope="session")
def write_pictures():
    """Write RGB pictures to a folder as PNG, named by their numbers."""

    def write(folder, images):
        folder.mkdir(parents=True, exist_ok=True)
        for number, image in enumerate(images):
            cv2.imwrite(str(folder / f"{number}.png"), np.ascontiguousarray(image[:, :, ::-1]))
        return folder

    return write


@pytest.fixture(scope="session")
def small_pool(tmp_path_factory, made_pairs, write_pictures):
    """Write ten pairs, one of them twice and one without rain, and four references: (pool, references)."""
    pairs = [sides for _, sides in made_pairs(10, presets=("rain200l", "rain1400"))]
    pairs += [pairs[0], (pairs[1][1], pairs[1][1])]
    folder = tmp_path_factory.mktemp("pool")
    write_pictures(folder / "pool" / "rainy", [rainy for rainy, _ in pairs])
    write_pictures(folder / "pool" / "clean", [clean for _, clean in pairs])
    real = [rainy for _, (rainy, _) in made_pairs(4, seed=1, presets=("rain200l", "rain1400"))]
    return folder / "pool", write_pictures(folder / "real", real)
