"""Every option file that ships runs: two iterations or a test, narrow, on made-up data of the layout it expects."""

import csv
import shutil
from pathlib import Path

import pytest

from msgnn_plugin.adapters.basicsr.options import load_options
from tests.adapters.tiny_run import run
from tests.options.sets import FILES, OPTIONS, ROWS, family, make_sets

TRAINING = [path for path in FILES if not path.name.startswith("test")] + ROWS
TESTING = [path for path in FILES if path.name.startswith("test")]
NARROW = {
    "msgnn": ["num_gpu=0", "network_g:num_feat=4", "network_g:num_blocks=1"],
    "nlcl": [
        *("num_gpu=0", "network_g:num_feat=4", "network_g:num_blocks=1", "network_r:num_feat=4"),
        *("network_d:num_feat=2", "datasets:train:gt_size=40", "train:location_places=[0,1]"),
    ],
}
SHORT = [
    *("train:total_iter=2", "val:val_freq=2", "logger:print_freq=1", "logger:save_checkpoint_freq=2"),
    *("datasets:train:batch_size_per_gpu=2", "datasets:train:num_worker_per_gpu=0", "datasets:train:pin_memory=false"),
]
# The training whose weights serve every test file of a system.
WEIGHTS = {"msgnn": "train_msgnn_rain200h", "nlcl": "train_nlcl_rain800"}
# A few for the fast suite, of each kind one; the others are many.
QUICK = {"train_msgnn_rain1200", "table5_k3", "test_msgnn_rain12", "test_msgnn_real", "test_nlcl_real"}
MEASURED = ("psnr", "ssim", "psnr_y", "ssim_y")


def marked(paths):
    return [pytest.param(path, marks=() if path.stem in QUICK else pytest.mark.slow, id=path.stem) for path in paths]


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    """A project with the option files, made-up data, and weights that serve every test file."""
    root = tmp_path_factory.mktemp("project")
    with pytest.MonkeyPatch.context() as patch:
        # Where descriptions of rain are kept.
        patch.setenv("XDG_CACHE_HOME", str(root / "cache"))
        yield _fill(root)


def _fill(root):
    shutil.copytree(OPTIONS, root / "options")
    make_sets(root)
    for source in WEIGHTS.values():
        run("train", root / f"options/{source}.yml", "--force_yml", *NARROW[family(Path(source))], *SHORT)
    return root


def table(path):
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


@pytest.mark.parametrize("path", marked(TRAINING))
def test_two_iterations(project, path):
    copy = project / path.relative_to(OPTIONS.parent)
    opt = load_options(copy)
    # The made-up set has three pictures of 66 pixels.
    bank = ["train:exemplar_bank=2", "train:exemplar_bank_size=64"] if opt["train"].get("exemplar_bank") else []
    # Rows that are the default share a name; BasicSR cannot put two runs of one name aside within a second.
    run("train", copy, "--force_yml", f"name={path.stem}", *NARROW[family(path)], *SHORT, *bank)
    home = project / opt["path"].get("experiments_root", "experiments") / path.stem
    assert (home / "models/net_g_latest.pth").is_file()
    assert (home / "training_states/2.state").is_file()
    if "val" in opt["datasets"]:
        rows = table(home / "metrics" / opt["datasets"]["val"]["name"] / "2.csv")
        assert [row["image"] for row in rows][-1] == "mean"
        assert len(rows) == 3
        metrics = list(opt["val"]["metrics"])
        assert metrics in (list(MEASURED), ["niqe"])
        assert list(rows[-1]) == ["image", *metrics, *(f"input_{metric}" for metric in metrics)]


@pytest.mark.parametrize("path", marked(TESTING))
def test_measures(project, path):
    copy = project / path.relative_to(OPTIONS.parent)
    opt = load_options(copy)
    weights = f"path:pretrain_network_g=experiments/{WEIGHTS[family(path)]}/models/net_g_latest.pth"
    run("test", copy, "--force_yml", weights, "num_gpu=0")
    home = project / "results" / opt["name"]
    name = opt["datasets"]["test"]["name"]
    rows = table(home / "metrics" / f"{name}.csv")
    assert len(rows) == 3
    pictures = {picture.name for picture in (home / "visualization" / name).iterdir()}
    wanted = {f"{row['image']}_{opt['name']}.png" for row in rows[:-1]}
    assert wanted <= pictures
    if name == "real_rain":
        assert list(rows[0]) == ["image", "niqe", "input_niqe"]
        assert pictures - wanted == {"1_compare.png", "2_compare.png"}
