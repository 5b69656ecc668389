"""The mixed data set as BasicSR and mmengine build it, and its section of an option file."""

import importlib
import multiprocessing

import cv2
import pytest
import torch
from torch.utils.data import DataLoader

from msgnn_plugin.adapters.basicsr import register
from msgnn_plugin.adapters.basicsr.json_schema import build_json_schema
from msgnn_plugin.adapters.basicsr.options import load_options, plan_options
from msgnn_plugin.data.mixed import SHARED_KEYS
from tests.adapters.test_bank import holds
from tests.adapters.tiny_run import assert_same_weights, make_project, run, tiny_options, weights_of

TURNS = ("hflip", "rot")
MIXED_VAL = "{type: MixedRainDataset, gt_size: 12, parts: {x: {type: PairedExemplarDataset}}}"


def mixed_options() -> dict:
    options = tiny_options()
    options["datasets"]["train"] |= {
        **{"name": "mixed", "type": "MixedRainDataset", "use_hflip": True, "use_rot": True},
        "parts": {
            "made": {
                **{"type": "SyntheticRainDataset", "share": 2, "dataroot": "data/train/norain"},
                **{"preset": "rain200h", "exclude": [1], "use_rot": False},
            },
            "real": {"type": "PairedExemplarDataset", "share": "1e0", "dataroot": "data/train"},
        },
    }
    del options["datasets"]["train"]["dataroot"]
    return options


@pytest.fixture
def option_file(tmp_path):
    register()
    return make_project(tmp_path, mixed_options())


def build(option_file, *forced, **keys):
    section = plan_options(option_file, list(forced), option_file.parents[1])["datasets"]["train"]
    return importlib.import_module("basicsr.data").build_dataset({**section, "phase": "train", "seed": 5, **keys})


def test_built_from_an_option_file(option_file):
    dataset = build(option_file)
    made, real = dataset.parts["made"], dataset.parts["real"]
    assert (len(dataset), len(made), len(real)) == (9, 4, 5)
    assert dataset.shares.tolist() == pytest.approx([2 / 3, 1 / 3])
    # What is said above holds for all parts, but where a part says otherwise.
    for part in (made, real):
        assert (part.crop_size, part.flip, part.seed) == (12, True, 5)
    assert (made.rotate, real.rotate) == (False, True)
    sample = dataset[0, 3]
    assert set(sample) == set(SHARED_KEYS)
    assert sample["lq"].shape == sample["exemplar"].shape == (3, 12, 12)


def test_one_value_of_a_part_is_forced_and_a_part_is_left_out(option_file):
    dataset = build(option_file, "datasets:train:parts:real:share=6")
    assert dataset.shares.tolist() == pytest.approx([1 / 4, 3 / 4])
    assert list(build(option_file, "datasets:train:parts:real=none").parts) == ["made"]


@pytest.mark.parametrize(
    ("forced", "error", "sentence"),
    [
        (
            "parts:real:dataroott=x",
            ValueError,
            r"--force_yml: unknown key `datasets.train.parts.real.dataroott`. "
            r"Did you mean `datasets.train.parts.real.dataroot`\?",
        ),
        ("parts:real:preset=drs", ValueError, "unknown key `datasets.train.parts.real.preset`. Known here: dataroot, "),
        ("parts:real:gt_size=8", ValueError, "unknown key `datasets.train.parts.real.gt_size`"),
        ("part=x", ValueError, r"unknown key `datasets.train.part`. Did you mean `datasets.train.parts`\?"),
        ("parts:real:share=half", TypeError, "`datasets.train.parts.real.share` must be a number, got 'half'"),
        ("parts:real:left=up", TypeError, "`datasets.train.parts.real.left` must be one of clean, rainy, got 'up'"),
        ("parts:real=5", TypeError, "`datasets.train.parts.real` must be a mapping, got 5"),
        ("parts=5", TypeError, "`datasets.train.parts` must be a mapping, got 5"),
        ("parts={1400: {}}", TypeError, "names in `datasets.train.parts` must be text, got 1400. Quote it"),
        ("parts={x: {share: 1}}", ValueError, r"`datasets.train.parts.x.type` must name the part, got nothing"),
        (
            "parts:real:type=PairedExemplarDatase",
            ValueError,
            r"`datasets.train.parts.real.type` must be a registered name, .* Did you mean PairedExemplarDataset\?",
        ),
        *(
            (
                f"parts:real:type={name}",
                ValueError,
                r"`datasets.train.parts.real.type` must be a data set whose samples hold lq, gt and exemplar "
                rf"\(PairedExemplarDataset, SyntheticRainDataset\), got {name}",
            )
            for name in ("MixedRainDataset", "TypedPairDataset", "RainyExemplarDataset", "PairedImageDataset")
        ),
    ],
)
def test_parts_are_checked_like_data_sets(option_file, forced, error, sentence):
    with pytest.raises(error, match=sentence):
        load_options(option_file, [f"datasets:train:{forced}"])


def test_errors_name_the_file_that_set_a_parts_key(option_file):
    options = mixed_options()
    options["datasets"]["train"]["parts"]["real"]["exclud"] = ["1"]
    make_project(option_file.parents[1], options)
    with pytest.raises(ValueError, match=r"tiny\.yml: unknown key `datasets.train.parts.real.exclud`"):
        load_options(option_file, ["datasets:train:parts:made:share=3"])


@pytest.mark.parametrize(
    ("forced", "sentence"),
    [
        ("train:gt_size=none", "`datasets.train`: MixedRainDataset: `gt_size` must be given, as .*, got nothing"),
        ("train:parts={}", "`datasets.train`: MixedRainDataset: `parts` must hold at least one data set, got none"),
        ("train:parts:made:share=0", "the share of part `made` must be above 0 and finite, got 0"),
        ("train:parts:real:share=.inf", "the share of part `real` must be above 0 and finite, got inf"),
        (
            f"val={MIXED_VAL}",
            "`datasets.val`: MixedRainDataset: it must be the training set, .* another phase",
        ),
    ],
)
def test_broken_rules_are_told_before_any_folder_is_made(tmp_path, option_file, forced, sentence):
    with pytest.raises(ValueError, match=rf"tiny\.yml: .*{sentence}"):
        run("train", option_file, "--force_yml", f"datasets:{forced}")
    assert not (tmp_path / "experiments").exists()


def test_what_a_part_refuses_is_told_with_its_name(option_file):
    with pytest.raises(ValueError, match=r"MixedRainDataset: part `made`: .*`preset` must be one of .*rain20h"):
        build(option_file, "datasets:train:parts:made:preset=rain20h")
    (option_file.parents[1] / "empty").mkdir()
    with pytest.raises(FileNotFoundError, match=r"MixedRainDataset: part `real`: .*empty"):
        build(option_file, "datasets:train:parts:real:dataroot=empty")
    with pytest.raises(ValueError, match="`gt_size` must be given"):
        build(option_file, gt_size=None)
    with pytest.raises(ValueError, match="it must be the training set"):
        build(option_file, phase="val")


def test_a_missing_set_is_one_helpful_sentence(tmp_path, option_file, monkeypatch):
    monkeypatch.chdir(tmp_path / "data")
    forced = "datasets:train:parts:made:dataroot=datasets/clean_bsd"
    with pytest.raises(FileNotFoundError) as error:
        build(option_file, forced)
    sentence = str(error.value)
    place = f"{tmp_path}/datasets/clean_bsd"
    assert (
        f"`datasets.train.parts.made.dataroot`: there is no {place}. Put the clean photographs of BSDS500" in sentence
    )
    assert f"`ln -s WHERE_IT_LIES {place}`" in sentence
    # Not below the project's folder, but below the working directory.
    (tmp_path / "data/datasets").mkdir()
    (tmp_path / "data/datasets/clean_bsd").symlink_to(tmp_path / "data/train/norain")
    assert len(build(option_file, forced).parts["made"]) == 4


def test_the_json_schema_knows_parts(option_file):
    jsonschema = pytest.importorskip("jsonschema", reason="needs jsonschema")
    validator = jsonschema.Draft7Validator(build_json_schema())
    options = mixed_options()
    assert list(validator.iter_errors(options)) == []
    parts = options["datasets"]["train"]["parts"]
    real = parts["real"]
    for wrong in (
        *({**real, "dataroott": "x"}, {**real, "share": []}, {**real, "gt_size": 8}),
        *({**real, "type": "TypedPairDataset"}, {**real, "type": "MixedRainDataset"}, 5),
    ):
        parts["real"] = wrong
        assert len(list(validator.iter_errors(options))) >= 1


def test_resumes_bit_identically(tmp_path):
    options = mixed_options()
    # Chosen from the parts as they lie on the disk, whatever exemplars and turns they give in training.
    options["train"].update(exemplar_bank=2, exemplar_bank_size=16)
    options["datasets"]["train"]["parts"]["real"] |= {"exemplar": "fixed", "use_hflip": True}
    run("train", make_project(tmp_path / "whole", options))
    option_file = make_project(tmp_path / "broken", options)
    run("train", option_file, "--auto_resume", "--force_yml", "train:total_iter=4")
    run("train", option_file, "--auto_resume", "--force_yml", "datasets:train:num_worker_per_gpu=1")
    assert_same_weights(weights_of(tmp_path / "whole"), weights_of(tmp_path / "broken"))


def test_a_bank_holds_crops_as_they_lie_on_the_disk(tmp_path, option_file):
    forced = ["datasets:train:parts:made=none", *(f"datasets:train:parts:real:use_{turn}=true" for turn in TURNS)]
    section = plan_options(option_file, forced, tmp_path)["datasets"]["train"]
    bank_module = importlib.import_module("msgnn_plugin.adapters.basicsr.bank")
    bank = bank_module.bank_of_training_set({**section, "phase": "train", "seed": 5}, 4, 16)
    sources = [cv2.imread(str(path))[:, :, ::-1] for path in (tmp_path / "data/train/rain").iterdir()]
    for crop in bank:
        assert any(holds(source, crop.permute(1, 2, 0).numpy()) for source in sources)


@pytest.mark.slow
def test_spawned_workers_give_the_same(option_file):
    dataset = build(option_file)
    numbered = [(0, number) for number in range(6)]
    spawned = multiprocessing.get_context("spawn")
    plain, theirs = (
        list(DataLoader(dataset, batch_size=3, sampler=numbered, num_workers=workers, **keywords))
        for workers, keywords in ((0, {}), (1, {"multiprocessing_context": spawned, "timeout": 200}))
    )
    for one, other in zip(plain, theirs, strict=True):
        assert torch.equal(one["lq"], other["lq"])
        assert one["lq_path"] == other["lq_path"]


def test_built_by_mmengine_it_gives_the_same(option_file):
    pytest.importorskip("mmengine.registry", reason="needs mmengine")
    importlib.import_module("msgnn_plugin.adapters.mmengine")
    registry = importlib.import_module("mmengine.registry").DATASETS
    root = option_file.parents[1] / "data/train"
    parts = {
        "made": {
            **{"type": "SyntheticRainDataset", "share": 2, "root": str(root / "norain"), "preset": "rain200h"},
            **{"exclude": [1], "rotate": False},
        },
        "real": {"type": "PairedExemplarDataset", "root": str(root)},
    }
    section = {"type": "MixedDataset", "parts": parts, "crop_size": 12, "flip": True, "rotate": True, "seed": 5}
    theirs, ours = registry.build(section), build(option_file)
    assert theirs.shares.tolist() == ours.shares.tolist()
    for number in range(8):
        one, other = theirs[0, number], ours[0, number]
        assert one["lq_path"] == other["lq_path"]
        assert torch.equal(one["lq"], other["lq"])
    assert parts["made"]["share"] == 2
