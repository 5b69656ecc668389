import numpy as np
import pytest

pytest.importorskip("faiss", reason="needs faiss, of the extra [distill]")
pytest.importorskip("skimage", reason="needs scikit-image, of the extra [distill]")
from skimage.metrics import structural_similarity

from msgnn_plugin.curation.describe import Description, MeasuredDescriber, make_describer
from msgnn_plugin.curation.retrieve import References, as_structure, is_written, make_index, write_references
from msgnn_plugin.curation.settings import DistillSettings, load_settings
from msgnn_plugin.data.synthesis import synthesize


@pytest.fixture
def database(tmp_path):
    rng = np.random.default_rng(0)
    text = rng.normal(size=(40, 6)).astype(np.float32)
    feature = rng.normal(size=(40, 5)).astype(np.float32)
    structure = rng.integers(0, 255, (40, 128, 128), dtype=np.uint8)
    assert not is_written(tmp_path)
    write_references(tmp_path, [f"{i}.png" for i in range(40)], text, feature, structure)
    assert is_written(tmp_path)
    return tmp_path, text, feature, structure


def test_three_nested_levels_as_plain_loops_find_them(database):
    folder, text, feature, structure = database
    references = References(folder, text_nearest=20, feature_nearest=7, image_nearest=3)
    rng = np.random.default_rng(1)
    for _ in range(5):
        query = Description("", rng.normal(size=6).astype(np.float32), rng.normal(size=5).astype(np.float32))
        image = rng.integers(0, 255, (70, 90, 3), dtype=np.uint8)
        first = sorted(range(40), key=lambda i: np.linalg.norm(text[i] - query.text))[:20]
        cosine = {
            i: feature[i] @ query.feature / np.linalg.norm(feature[i]) / np.linalg.norm(query.feature) for i in first
        }
        second = sorted(first, key=cosine.get, reverse=True)[:7]
        own = as_structure(image)
        similar = {
            i: structural_similarity(
                own, structure[i], gaussian_weights=True, sigma=1.5, use_sample_covariance=False, data_range=255
            )
            for i in second
        }
        third = sorted(second, key=similar.get, reverse=True)[:3]
        found = references.search(query, image)
        assert [reference.path for reference in found] == [f"{i}.png" for i in third]
        assert [r.similarity for r in found] == pytest.approx([similar[i] for i in third])
        assert [r.distance for r in found] == pytest.approx([np.linalg.norm(feature[i] - query.feature) for i in third])


def test_spacing_is_the_median_distance_to_the_nearest_other(database):
    folder, _, feature, _ = database
    distances = np.linalg.norm(feature[:, None] - feature, axis=2) + 1e9 * np.eye(40)
    references = References(folder, text_nearest=1, feature_nearest=1, image_nearest=1)
    assert references.spacing == pytest.approx(np.median(distances.min(1)), rel=1e-5)


def test_more_asked_for_than_there_is(tmp_path):
    one = np.ones((1, 4), np.float32)
    write_references(tmp_path, ["a.png"], one, one, np.zeros((1, 128, 128), np.uint8))
    references = References(tmp_path, text_nearest=9, feature_nearest=8, image_nearest=3)
    found = references.search(Description("", one[0], one[0]), np.zeros((9, 9, 3), np.uint8))
    assert [reference.path for reference in found] == ["a.png"]
    assert references.spacing == 0


def test_an_inverted_file_finds_nearly_what_the_flat_index_does():
    centres = np.random.default_rng(0).normal(size=(50, 8)) * 4
    rng = np.random.default_rng(1)
    vectors = (centres[rng.integers(50, size=4000)] + rng.normal(size=(4000, 8))).astype(np.float32)
    exact, listed = make_index(vectors), make_index(vectors, flat_limit=1000)
    assert type(exact).__name__ == "IndexFlatL2"
    assert type(listed).__name__ == "IndexIVFFlat"
    queries = vectors[:200] + 0.1
    wanted, found = exact.search(queries, 10)[1], listed.search(queries, 10)[1]
    shared = np.mean([len(set(a) & set(b)) / 10 for a, b in zip(wanted, found)])
    assert 0.9 < shared <= 1


def test_captions_follow_the_rain():
    describer = MeasuredDescriber()
    wall = np.full((256, 256, 3), 100, np.uint8)
    light, heavy = (
        synthesize(wall, preset, np.random.default_rng(0)).rainy for preset in ("rain1200_light", "rain200h")
    )
    one, two = describer([light, heavy])
    assert one.caption != two.caption
    assert "very heavy rain" in two.caption
    assert "dark night" in describer([heavy // 8])[0].caption
    # Each word group that differs adds 2 to the square: one word goes, another comes.
    assert np.square(one.text - two.text).sum() % 2 == 0
    assert one.text.sum() == two.text.sum() == 5


def test_bad_settings(tmp_path):
    with pytest.raises(ValueError, match=r"`feature_nearest` >= `image_nearest` >= 1 must hold.*\(4, 8, 3\)"):
        DistillSettings(text_nearest=4)
    with pytest.raises(ValueError, match="`judges` must be an odd number or none, got 2"):
        DistillSettings(judges=({}, {}))
    file = tmp_path / "settings.yml"
    file.write_text("text_nearst: 4\n")
    with pytest.raises(ValueError, match="got text_nearst"):
        load_settings(file)
    with pytest.raises(ValueError, match=r"`describer.kind` must be measured, without more, or pretrained"):
        make_describer({"kind": "blip"})
