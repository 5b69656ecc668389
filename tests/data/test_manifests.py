"""Manifests: those that come with the package, and what one of a user's own may say."""

import pytest

from msgnn_plugin.data.manifests import SplitRule, list_manifests, load_manifest

# Counts as the papers and the README of the sets state them: training, test.
COUNTS = {
    "rain200h": (1800, 200),
    "rain200l": (1800, 200),
    "rain800": (700, 100),
    "rain1200": (12000, 1200),
    "rain1400": (12600, 1400),
    "rain100h": (1800, 100),
    "rain100l": (200, 100),
    "rain12": (None, 12),
}


def test_every_set_has_one():
    assert {*COUNTS, "spa", "rain13k", "real_rain"} == set(list_manifests())


@pytest.mark.parametrize("name", list_manifests())
def test_each_says_where_it_is_from_and_under_which_licence(name):
    manifest = load_manifest(name)
    assert manifest.title
    assert manifest.about
    assert manifest.source
    assert "not stated" in manifest.licence
    assert manifest.layouts
    assert all(rule.folders for rule in manifest.splits)
    if name in COUNTS:
        counts = {rule.name: rule.pairs[0] for rule in manifest.splits}
        assert (counts.get("train"), counts["test"]) == COUNTS[name]


def test_orientation_of_joined_files():
    assert (load_manifest("rain800").left, load_manifest("Rain1200").left) == ("clean", "rainy")


def test_a_set_of_ones_own(tmp_path):
    path = tmp_path / "mine.yml"
    path.write_text("splits:\n  train: {pairs: 3, rainy: wet, clean: dry}\n  test:\n")
    manifest = load_manifest(path)
    assert manifest.name == "mine"
    assert manifest.splits == (SplitRule("train", (3,), rainy="wet", clean="dry"), SplitRule("test"))
    assert manifest.licence == "not stated"


WRONG = {
    "splits: {train: {pears: 3}}": r"must use the keys .*, got `splits\.train\.pears`",
    "titel: x\nsplits: {train: }": r"must use the keys .*, got `titel`",
    "title: x": "`splits` must be at least one part with its rules, got None",
    "splits: {train: {pairs: 0}}": r"`splits\.train\.pairs` must be .* above 0, got \[0\]",
    "splits: {train: {pairs: true}}": r"`splits\.train\.pairs` must be",
    "splits: {train: {rainy: wet}}": r"`splits\.train\.rainy` must be given together with `clean`",
    "splits: {train: {numbers: [9, 1]}}": "must be the first and the last number",
    "left: wet\nsplits: {train: }": "`left` must be clean or rainy, got 'wet'",
    "paired: 3\nsplits: {train: }": "`paired` must be true or false, got 3",
    "- 1": "`the file` must be a mapping",
    "a: [": "must be YAML, got text that is not",
}


@pytest.mark.parametrize("text", WRONG)
def test_refuses(tmp_path, text):
    (tmp_path / "mine.yml").write_text(text)
    with pytest.raises(ValueError, match=WRONG[text]) as caught:
        load_manifest(tmp_path / "mine.yml")
    assert "\n" not in str(caught.value)


def test_refuses_an_unknown_name(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"must be one of .*rain800.* or the path of a \.yml file, got rain900"):
        load_manifest("rain900")
    with pytest.raises(FileNotFoundError):
        load_manifest(tmp_path / "absent.yml")
