import pytest

pytest.importorskip("faiss", reason="needs faiss, of the extra [distill]")
pytest.importorskip("skimage", reason="needs scikit-image, of the extra [distill]")
from msgnn_plugin.curation.settings import load_settings


def test_the_panel_of_the_paper_is_named(repository):
    pytest.importorskip("httpx", reason="needs httpx, of the extra [distill]")
    from msgnn_plugin.curation.judge import make_judges

    settings = load_settings(repository / "options" / "distill" / "unirain.yml")
    judges = make_judges(settings.judges, settings.limits)
    assert [judge.name for judge in judges] == ["internvl", "llava", "mobilevlm"]


def test_ablations_load_and_let_everything_else_pass(repository, make_pair):
    from msgnn_plugin.curation.describe import MeasuredDescriber
    from msgnn_plugin.curation.judge import Case, make_judges
    from msgnn_plugin.curation.retrieve import Reference

    folder = repository / "options" / "distill"
    assert load_settings(folder / "no_retrieval.yml").text_nearest == 0
    settings = load_settings(folder / "no_judges.yml")
    (judge,) = make_judges(settings.judges, settings.limits)
    rainy, _ = make_pair(0)
    description = MeasuredDescriber()([rainy])[0]
    for clean in (rainy, rainy[::-1].copy(), rainy // 30):
        assert judge(Case(rainy, clean, description, [Reference("r", 0.5, 0.1)], 0.2, None)).reliable
        assert not judge(Case(rainy, clean, description, [Reference("r", 5.0, 0.1)], 0.2, None)).reliable
