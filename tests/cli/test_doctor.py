import importlib.metadata
import re

import pytest

from msgnn_plugin import _extension
from msgnn_plugin.cli import doctor
from msgnn_plugin.cli.main import main


def test_reports_versions_ops_and_mends(capsys):
    main(["doctor"])
    report = capsys.readouterr().out
    for part in (
        "python 3.",
        "torch ",
        "compiled ops:",
        "Mended in BasicSR:",
        "functional_tensor",
        "applied",
        "Mended in mmengine:",
    ):
        assert part in report


def test_says_how_to_get_what_is_missing(capsys, monkeypatch):
    version = importlib.metadata.version

    def without(name):
        if name in ("basicsr", "lmdb", "av"):
            raise importlib.metadata.PackageNotFoundError(name)
        return version(name)

    monkeypatch.setattr(doctor.importlib.metadata, "version", without)
    assert main(["doctor"]) == 1
    report = capsys.readouterr().out
    assert "basicsr: pip install --no-build-isolation --no-deps basicsr==1.4.2" in report
    assert "lmdb: pip install lmdb" in report
    # A feature's package is told with its remedy, but not missing.
    absent, missing = report.split("\nMissing:")
    assert re.search(r"^  av +absent: pip install 'msgnn_plugin\[video\]'  \(videos\)$", absent, re.MULTILINE)
    assert "msgnn_plugin[video]" not in missing


def test_every_feature_names_an_extra_that_brings_its_package(repository):
    tomllib = pytest.importorskip("tomllib")  # of Python 3.11
    extras = tomllib.loads((repository / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    for name, (_, extra) in doctor.OPTIONAL.items():
        assert name in extras[extra]


def test_names_compiled_ops_that_were_not_built(capsys, monkeypatch):
    monkeypatch.setattr(_extension, "BUILT", False)
    assert main(["doctor"]) == 1
    assert "compiled ops: pip install --no-build-isolation -e ." in capsys.readouterr().out
