"""pyiqa as it is called; its networks need weights that are not at hand."""

import sys
import types

import numpy as np
import pytest

from msgnn_plugin.metrics.pyiqa_metric import PyiqaMetric

DERAINED, CLEAN = np.zeros((4, 6, 3), np.float32), np.ones((4, 6, 3), np.float32)
DERAINED[..., 0] = 0.5


@pytest.fixture
def pyiqa(monkeypatch):
    """A module with the calls of pyiqa 0.1.16 that are used."""

    class Metric:
        lower_better = True

        def __init__(self, name):
            self.metric_mode = "NR" if name == "musiq" else "FR"

        def __call__(self, target, ref=None):
            assert target.shape == (1, 3, 4, 6)
            assert (ref is None) == (self.metric_mode == "NR")
            assert target[0, :, 0, 0].tolist() == [0.5, 0, 0]
            return (target.sum() if ref is None else (ref - target).abs().mean()).reshape(1, 1)

    module = types.SimpleNamespace(
        __version__="0.1.16", list_models=lambda: ["lpips", "musiq", "fid", "inception_score"], create_metric=Metric
    )
    monkeypatch.setitem(sys.modules, "pyiqa", module)
    return module


def test_with_and_without_a_clean_picture(pyiqa):
    lpips, musiq = PyiqaMetric("lpips"), PyiqaMetric("musiq")
    assert (lpips.needs_clean, musiq.needs_clean) == (True, False)
    assert lpips(DERAINED, CLEAN) == pytest.approx(2.5 / 3)
    assert musiq(DERAINED, CLEAN) == musiq(DERAINED) == pytest.approx(12)
    assert "pyiqa 0.1.16" in lpips.about
    assert "lower is better" in lpips.about
    assert "not for commercial use" in lpips.about


@pytest.mark.parametrize(
    ("name", "hint"), [("Musiq", r"did you mean musiq\?"), ("fid", "list_models"), ("inception_score", "list_models")]
)
def test_what_it_does_not_have_or_not_for_single_pictures(pyiqa, name, hint):
    with pytest.raises(ValueError, match=rf"niqe or one of pyiqa's 2 for single pictures, got '{name}'; .*{hint}"):
        PyiqaMetric(name)


def test_weights_that_cannot_be_had(pyiqa, monkeypatch):
    def refuse(name):
        raise KeyError("no net")

    monkeypatch.setattr(pyiqa, "create_metric", refuse)
    with pytest.raises(RuntimeError, match=r"must be able to build 'musiq', .* got: 'no net'$"):
        PyiqaMetric("musiq")


def test_a_picture_that_it_refuses(pyiqa):
    metric = PyiqaMetric("musiq")
    with pytest.raises(RuntimeError, match="'musiq' must be able to measure the picture, got"):
        metric(DERAINED[:2])


def test_absent_it_says_what_it_costs(monkeypatch):
    monkeypatch.setitem(sys.modules, "pyiqa", None)
    with pytest.raises(ImportError, match=r"\[iqa\].*forbid commercial use"):
        PyiqaMetric("musiq")
