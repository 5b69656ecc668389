import sys
from typing import Any, Literal

import pytest
import torch
import yaml

from msgnn_plugin.adapters.basicsr import arguments, option_files, places, plugins, register
from msgnn_plugin.adapters.basicsr.option_types import MismatchError, convert, describe
from msgnn_plugin.adapters.basicsr.options import load_options, parse_forced
from tests.adapters.tiny_run import make_project, run, tiny_options, write_options


@pytest.fixture(scope="module", autouse=True)
def mended():
    register()


@pytest.fixture
def option_file(tmp_path):
    return write_options(tmp_path / "options" / "tiny.yml", tiny_options())


@pytest.mark.parametrize(
    ("forced", "sentence"),
    [
        ("train:total_iters=5", r"--force_yml: unknown key `train.total_iters`. Did you mean `train.total_iter`\?"),
        ("trian:total_iter=5", r"--force_yml: unknown key `trian`. Did you mean `train`\?"),
        ("total_iter=5", r"unknown key `total_iter`. Did you mean `train.total_iter`\?"),
        ("network_g:num_neighbor=5", r"unknown key `network_g.num_neighbor`. Did you mean `network_g.num_neighbors`\?"),
        ("network_g:type=MSGNN", r"`network_g.type` must be a registered name, got MSGNN. Did you mean MSGNNArch\?"),
        ("model_type=MSGNN", r"`model_type` must be a registered name, got MSGNN. Did you mean MSGNNModel\?"),
        (
            "train:pixel_opt:wieght=1",
            r"unknown key `train.pixel_opt.wieght`. Did you mean `train.pixel_opt.loss_weight`",
        ),
        ("datasets:train:gtsize=5", r"unknown key `datasets.train.gtsize`. Did you mean `datasets.train.gt_size`\?"),
        (
            "val:metrics:psnr:crop=5",
            r"unknown key `val.metrics.psnr.crop`. Did you mean `val.metrics.psnr.crop_border`",
        ),
        ("datasets:trian:name=x", r"unknown key `datasets.trian`. Did you mean `datasets.train`\?"),
    ],
)
def test_unknown_keys_are_errors_with_a_suggestion(option_file, forced, sentence):
    with pytest.raises(ValueError, match=sentence):
        load_options(option_file, [forced])


@pytest.mark.parametrize(
    ("forced", "sentence"),
    [
        ("train:total_iter=many", "`train.total_iter` must be a whole number, got 'many'"),
        ("train:total_iter=2.5", "`train.total_iter` must be a whole number, got 2.5"),
        ("train:optim_g:lr=fast", "`train.optim_g.lr` must be a number, got 'fast'"),
        ("network_g:num_feat=[1]", r"`network_g.num_feat` must be a whole number, got \[1\]"),
        ("network_g:scales=2", r"`network_g.scales` must be a list \(each a whole number\), got 2"),
        ("network_g:channel_attention=sse", "`network_g.channel_attention` must be one of gct, eca, se or nothing"),
        ("datasets:train:use_hflip=maybe", "`datasets.train.use_hflip` must be true or false, got 'maybe'"),
        ("datasets:train:exclude=norain-1", "`datasets.train.exclude` must be a list"),
        ("train:amp=fp8", "`train.amp` must be one of bf16, fp16 or nothing, got 'fp8'"),
        ("train=5", "`train` must be a mapping"),
        ("num_gpu=all", "`num_gpu` must be a whole number or auto, got 'all'"),
        ("name=3", "`name` must be text, got 3"),
        ("val:tile=large", "`val.tile` must be a whole number or auto or nothing, got 'large'"),
        ("val:tile_database=both", "`val.tile_database` must be one of image, tile, got 'both'"),
    ],
)
def test_wrong_kinds_are_errors(option_file, forced, sentence):
    with pytest.raises(TypeError, match=sentence):
        load_options(option_file, [forced])


def test_errors_name_the_file_that_set_the_key(tmp_path):
    write_options(tmp_path / "base.yml", {"train": {"total_iters": 5}})
    derived = write_options(tmp_path / "derived.yml", {"_base_": "base.yml", "model_type": "MSGNNModel"})
    with pytest.raises(ValueError, match=r"base\.yml: unknown key `train.total_iters`"):
        load_options(derived)


def test_numbers_that_yaml_reads_as_text_are_numbers(option_file):
    opt = load_options(
        option_file, ["train:optim_g:lr=5e-4", "train:total_iter=1e3", "train:optim_g:betas=[9e-1, 1e-2]"]
    )
    assert opt["train"]["optim_g"] == {"type": "Adam", "lr": 5e-4, "betas": [0.9, 0.01]}
    assert opt["train"]["total_iter"] == 1000


def test_forced_values():
    assert parse_forced("a:b=[1, 2]") == (["a", "b"], [1, 2])
    assert parse_forced("a=None") == (["a"], None)
    assert parse_forced("a=x=y") == (["a"], "x=y")
    for wrong in ("a", "=1", "a:=1"):
        with pytest.raises(ValueError, match="must be KEY:KEY=VALUE"):
            parse_forced(wrong)
    with pytest.raises(ValueError, match="not plain YAML"):
        parse_forced("a=!!python/object/apply:os.getcwd []")


def test_forcing_below_a_value_is_an_error(option_file):
    with pytest.raises(ValueError, match="`name` is a value and has no key `x`"):
        load_options(option_file, ["name:x=1"])


class TestFiles:
    def test_bases_are_merged_with_the_derived_file_on_top(self, tmp_path):
        write_options(tmp_path / "_base_/a.yml", {"train": {"total_iter": 1, "warmup_iter": 2}})
        write_options(tmp_path / "_base_/b.yml", {"val": {"val_freq": 3}})
        path = write_options(
            tmp_path / "c.yml", {"_base_": ["_base_/a.yml", "_base_/b.yml"], "train": {"total_iter": 9}}
        )
        merged, chain = option_files.read_options(path)
        assert merged == {"train": {"total_iter": 9, "warmup_iter": 2}, "val": {"val_freq": 3}}
        assert [file.name for file, _ in chain] == ["c.yml", "a.yml", "b.yml"]

    def test_python_bases_are_refused(self, tmp_path):
        (tmp_path / "evil.py").write_text("raise SystemExit('ran')")
        path = write_options(tmp_path / "c.yml", {"_base_": "evil.py"})
        with pytest.raises(ValueError, match=r"evil\.py: option files and their `_base_` must end in"):
            option_files.read_options(path)

    @pytest.mark.parametrize(
        ("text", "sentence"),
        [
            ("a: !!python/object/apply:os.getcwd []", "not plain YAML"),
            ("a: [1", "not plain YAML"),
            ("a: 1\na: 2", "the key `a` is there twice"),
            ("- 1", "must be a YAML mapping"),
            ("1: 2", "must be a YAML mapping"),
            ("a: '{{ fileDirname }}'", "templates"),
            ("_base_: mmagic::x.yml", "must be a path"),
            ("_base_: c.yml", "inherits itself"),
        ],
    )
    def test_what_is_no_plain_data_is_refused(self, tmp_path, text, sentence):
        path = tmp_path / "c.yml"
        path.write_text(text)
        with pytest.raises(ValueError, match=sentence):
            option_files.read_options(path)

    def test_missing_files_are_named(self, tmp_path):
        with pytest.raises(FileNotFoundError, match=r"none\.yml: no such option file"):
            option_files.read_options(tmp_path / "none.yml")
        path = write_options(tmp_path / "c.yml", {"_base_": "gone.yml"})
        with pytest.raises(
            FileNotFoundError, match=r"gone\.yml: no such option file \(named by `_base_` in .*c\.yml\)"
        ):
            option_files.read_options(path)

    def test_two_bases_with_one_key_are_an_error(self, tmp_path):
        for name in "ab":
            write_options(tmp_path / f"{name}.yml", {"train": {}})
        path = write_options(tmp_path / "c.yml", {"_base_": ["a.yml", "b.yml"]})
        with pytest.raises(ValueError, match="cannot be merged: Duplicate key"):
            option_files.read_options(path)


@pytest.mark.parametrize(
    ("value", "annotation", "expected"),
    [
        ("5e-4", float, 5e-4),
        (3, float, 3.0),
        ("1e5", int, 100000),
        (2**60 + 1, int, 2**60 + 1),
        ("auto", int | Literal["auto"], "auto"),
        (2, int | Literal["auto"], 2),
        (None, float | None, None),
        ([1, "2"], list[int], [1, 2]),
        ([1, 2], tuple[int, ...], [1, 2]),
        ("1e-3", float | torch.Tensor, 1e-3),
        (True, str | bool, True),
        ({"a": 1}, dict[str, Any], {"a": 1}),
    ],
)
def test_conversion(value, annotation, expected):
    converted = convert(value, annotation)
    assert converted == expected
    assert type(converted) is type(expected)


@pytest.mark.parametrize(
    ("value", "annotation"),
    [
        (True, int),
        ("nan5", float),
        (1.5, int),
        ("inf", int),
        (1, bool),
        ([1], tuple[int, int]),
        ("x", list[str]),
        (None, int),
        (1, Literal[True]),
        ("x", float | torch.Tensor),
    ],
)
def test_what_does_not_convert(value, annotation):
    with pytest.raises(MismatchError):
        convert(value, annotation)


def test_descriptions_are_plain_words():
    assert describe(int | None) == "a whole number or nothing"
    assert describe(Literal["a", "b"]) == "one of a, b"
    assert describe(list[int]) == "a list (each a whole number)"


class TestRules:
    @pytest.mark.parametrize(
        ("forced", "sentence"),
        [
            ("network_g:num_neighbors=10", r"`network_g`: .*`num_neighbors` must be in \[1, .*9\], got 10"),
            ("train:total_iter=0", "`train.total_iter` must be at least 1, got 0"),
            ("datasets:train:batch_size_per_gpu=0", "`datasets.train.batch_size_per_gpu` must be at least 1, got 0"),
            ("train:accumulate=3", "`train.accumulate` must divide `batch_size_per_gpu` = 2, got 3"),
            ("train:grad_clip=0", "`train.grad_clip` must be above 0, got 0"),
            ("train:ema_decay=1", r"`train.ema_decay` must be in \[0, 1\), got 1"),
            ("val:save_best=lpips", r"`val.save_best` must be one of `val.metrics` \(psnr, ssim\), got lpips"),
            ("num_gpu=99", "`num_gpu` must be auto or in"),
            ("val:tile=0", r"`val`: .*`tile` must be at least `tile_overlap` \+ 1 = 33 pixels, got 0"),
            ("val:tile=34", "`val`: .*`tile` must be at least .* largest scale = 3, got 34"),
            ("val:tile_overlap=-1", "`val`: .*`tile_overlap` must be at least 0, got -1"),
            ("val:memory=0", "`val`: .*`memory` must be above 0 GiB, got 0"),
            ("train:optim_g=~", "`train.optim_g` must be given for training, got nothing"),
            ("datasets:train=~", "`datasets.train` must be given for training, got nothing"),
        ],
    )
    def test_broken_rules_are_told_before_any_folder_is_made(self, tmp_path, forced, sentence):
        with pytest.raises(ValueError, match=sentence):
            run("train", make_project(tmp_path), "--force_yml", forced)
        assert not (tmp_path / "experiments").exists()

    def test_fp16_needs_a_gpu(self, tmp_path, monkeypatch):
        monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
        with pytest.raises(ValueError, match=r"`train\.amp` fp16 needs a GPU"):
            run("train", make_project(tmp_path), "--force_yml", "train:amp=fp16")


class TestPlaces:
    def test_root_is_the_folder_above_options(self, tmp_path):
        assert arguments.project_root(tmp_path / "options/x.yml") == tmp_path
        assert arguments.project_root(tmp_path / "options/ablation/x.yml") == tmp_path
        assert arguments.project_root(tmp_path / "else/x.yml") == tmp_path / "else"

    def test_missing_data_is_one_helpful_sentence(self, tmp_path, monkeypatch):
        monkeypatch.chdir(tmp_path)
        options = tiny_options()
        options["datasets"]["train"]["dataroot"] = "datasets/rain200h/train"
        with pytest.raises(FileNotFoundError) as error:
            run("train", make_project(tmp_path, options))
        sentence = str(error.value)
        assert f"`datasets.train.dataroot`: there is no {tmp_path}/datasets/rain200h/train" in sentence
        assert "Put Rain200H (1,800 training and 200 test pairs) there" in sentence
        assert "datasets/README.md" in sentence
        assert not (tmp_path / "experiments").exists()

    def test_data_may_lie_below_the_working_directory(self, tmp_path, monkeypatch):
        (tmp_path / "here/data").mkdir(parents=True)
        monkeypatch.chdir(tmp_path / "here")
        opt = {"datasets": {"train": {"dataroot": "data"}}, "path": {}}
        places.resolve_paths(opt, tmp_path / "root")
        assert opt["datasets"]["train"]["dataroot"] == str(tmp_path / "here/data")

    def test_latest_weights_stand_in_for_the_best(self, tmp_path):
        (tmp_path / "net_g_latest.pth").touch()
        opt = {"datasets": {}, "path": {"pretrain_network_g": "net_g_best.pth"}}
        places.resolve_paths(opt, tmp_path)
        assert opt["path"]["pretrain_network_g"] == str(tmp_path / "net_g_latest.pth")

    def test_missing_weights_are_one_helpful_sentence(self, tmp_path):
        opt = {"datasets": {}, "path": {"pretrain_network_g": "none.pth"}}
        with pytest.raises(
            FileNotFoundError, match=r"there is no .*none\.pth\. Train first .* path:pretrain_network_g=FILE"
        ):
            places.resolve_paths(opt, tmp_path)


class TestPlugins:
    MODULE = '''
"""A third package: a loss of its own and an option key."""

from basicsr.utils.registry import LOSS_REGISTRY
from torch import nn


class {loss}(nn.Module):
    def __init__(self, *, loss_weight: float = 1.0) -> None:
        super().__init__()
        self.loss_weight = loss_weight

    def forward(self, derained, clean):
        return self.loss_weight * (derained - clean).square().mean()


def plugin(schema):
    if "{loss}" not in LOSS_REGISTRY:
        LOSS_REGISTRY.register({loss})
    schema.add("train.{key}", float)
'''

    def test_modules_of_the_option_file(self, tmp_path, monkeypatch):
        (tmp_path / "third_loss.py").write_text(self.MODULE.format(loss="ThirdLoss", key="third_key"))
        monkeypatch.syspath_prepend(tmp_path)
        options = tiny_options() | {"plugins": ["third_loss"]}
        options["train"].update(total_iter=2, third_key="1e-3", pixel_opt={"type": "ThirdLoss", "loss_weight": 2})
        run("train", make_project(tmp_path, options))
        copy = yaml.safe_load((tmp_path / "experiments/tiny/tiny.yml").read_text())
        assert copy["train"]["third_key"] == 1e-3
        sys.modules.pop("third_loss")

    def test_entry_points(self, tmp_path, monkeypatch, option_file):
        (tmp_path / "fourth_loss.py").write_text(self.MODULE.format(loss="FourthLoss", key="fourth_key"))
        info = tmp_path / "fourth_loss-1.0.dist-info"
        info.mkdir()
        (info / "METADATA").write_text("Name: fourth_loss\nVersion: 1.0\n")
        (info / "entry_points.txt").write_text(f"[{plugins.GROUP}]\nfourth = fourth_loss:plugin\n")
        monkeypatch.syspath_prepend(tmp_path)
        opt = load_options(option_file, ["train:fourth_key=2", "train:pixel_opt:type=FourthLoss"])
        assert opt["train"]["fourth_key"] == 2.0

    def test_a_missing_module_is_named(self, option_file):
        with pytest.raises(ImportError, match="`plugins`: the module not_there cannot be imported"):
            load_options(option_file, ["plugins=[not_there]"])
