"""The JSON Schema of the option files: up to date, satisfied by ours, and able to refuse."""

import copy
import json

import pytest
import torch

from msgnn_plugin.adapters.basicsr import register
from msgnn_plugin.adapters.basicsr.json_schema import build_json_schema
from msgnn_plugin.adapters.basicsr.option_files import read_options
from tests.adapters.tiny_run import tiny_options

MODELINE = "# yaml-language-server: $schema="


@pytest.fixture(scope="module")
def schema():
    register()
    return build_json_schema()


@pytest.fixture
def validator(schema):
    jsonschema = pytest.importorskip("jsonschema", reason="needs jsonschema")
    jsonschema.Draft7Validator.check_schema(schema)
    return jsonschema.Draft7Validator(schema)


def option_files(repository):
    options = repository / "options"
    return sorted(path for folder in (".", "_base_", "ablation") for path in (options / folder).glob("*.yml"))


@pytest.mark.skipif(not torch.__version__.startswith("2.13."), reason="the file lists the keywords of torch 2.13")
def test_the_committed_file_is_up_to_date(repository, schema):
    # Else run scripts/option_schema.py.
    assert json.loads((repository / "options" / "schema.json").read_text()) == schema


def test_every_option_file_names_the_schema(repository):
    files = option_files(repository)
    assert len(files) > 50
    for path in files:
        line = path.read_text().splitlines()[0]
        assert line.startswith(MODELINE), path
        named = path.parent / line.removeprefix(MODELINE)
        assert named.resolve() == (repository / "options" / "schema.json").resolve(), path


def test_every_option_file_satisfies_it_alone_and_with_its_bases(repository, validator):
    for path in option_files(repository):
        merged, chain = read_options(path)
        for options in (merged, chain[0][1]):
            assert [error.message for error in validator.iter_errors(options)] == [], path


@pytest.mark.parametrize(
    ("place", "value"),
    [
        ("trian", {}),
        ("train.total_iters", 5),
        ("train.total_iter", "many"),
        ("train.amp", "fp8"),
        ("train.optim_g.lr", "fast"),
        ("network_g.type", "MSGNN"),
        ("network_g.num_neighbor", 5),
        ("network_g.scales", 2),
        ("network_g.channel_attention", "sse"),
        ("datasets.trian", {}),
        ("datasets.train.gtsize", 5),
        ("datasets.train.use_hflip", "maybe"),
        ("val.metrics.psnr.crop", 5),
        ("model_type", "MSGNN"),
    ],
)
def test_what_the_command_refuses_is_refused(validator, place, value):
    options = json.loads(json.dumps(tiny_options()))
    assert list(validator.iter_errors(options)) == []
    section = broken = copy.deepcopy(options)
    *above, key = place.split(".")
    for name in above:
        section = section[name]
    section[key] = value
    assert len(list(validator.iter_errors(broken))) >= 1
