"""Every option file that ships is right: it parses, validates, says what the paper says, and its network runs."""

import pytest
import torch

from msgnn_plugin.adapters.basicsr import register
from msgnn_plugin.adapters.basicsr.components import registered
from msgnn_plugin.adapters.basicsr.options import load_options
from tests.options.sets import FILES, OPTIONS, ROWS, family

PAPER_ROWS = [path for path in ROWS if family(path) == "msgnn"]
TRAINING = [path for path in FILES if path.name.startswith("train_msgnn")] + PAPER_ROWS
NLCL = [path for path in FILES + ROWS if family(path) == "nlcl" and not path.name.startswith("test")]
# Pairs to train on; 500 epochs of them in batches of 8 are the paper's schedule (section 4.2).
TRAINING_PAIRS = {
    **{"rain200h": 1800, "rain200l": 1800, "rain100h": 1800, "rain800": 700},
    **{"rain1200": 12000, "rain1400": 12600},
}
# Section 4.2 and the defaults of section 4.5.
DEFAULT_NETWORK = {
    **{"num_feat": 32, "num_groups": 4, "scales": [1, 2, 4], "use_exemplar": True, "channel_attention": "gct"},
    **{"fusion_connection": True, "graph": True, "patch_size": 3, "stride": 3, "num_neighbors": 5},
    # What the paper leaves to its supplement, and ours.
    **{"num_blocks": 12, "window_size": 30, "variant": "paper"},
}
NO_GRAPH = {"graph": False}
# The paper's tables 2 to 5 and figures 7 to 9, and our own two: what differs from the default network, side of the
# training patch, policy of the exemplar, and the numbers given.
PAPER = {
    "table2_m1": ({**NO_GRAPH, "channel_attention": None, "fusion_connection": False}, 64, "random", (29.161, 0.9111)),
    "table2_m2": ({**NO_GRAPH, "channel_attention": None}, 64, "random", (29.451, 0.9147)),
    "table2_m3": ({**NO_GRAPH, "channel_attention": "eca"}, 64, "random", (27.535, 0.8944)),
    "table2_m4": ({**NO_GRAPH, "channel_attention": "se"}, 64, "random", (29.397, 0.9149)),
    "table2_m5": (NO_GRAPH, 64, "random", (29.488, 0.9163)),
    "table2_m6": ({}, 64, "random", (29.627, 0.9178)),
    "table3_p64_s1": ({"stride": 1}, 64, "random", None),
    "table3_p64_s2": ({"stride": 2}, 64, "random", (29.472, 0.9168)),
    "table3_p64_s3": ({}, 64, "random", (29.627, 0.9178)),
    "table3_p48_s1": ({"stride": 1}, 48, "random", (29.011, 0.9116)),
    "table3_p48_s2": ({"stride": 2}, 48, "random", (28.942, 0.9112)),
    "table3_p48_s3": ({}, 48, "random", (29.016, 0.9119)),
    "table4_l3": ({}, 64, "random", (29.627, 0.9178)),
    "table4_l5": ({"patch_size": 5}, 64, "random", (29.606, 0.9175)),
    "table4_l7": ({"patch_size": 7}, 64, "random", (29.584, 0.9178)),
    "table5_k3": ({"num_neighbors": 3}, 64, "random", (29.501, 0.9167)),
    "table5_k5": ({}, 64, "random", (29.627, 0.9178)),
    "table5_k7": ({"num_neighbors": 7}, 64, "random", (29.565, 0.9172)),
    "figure7_n1": ({"num_groups": 1}, 64, "random", None),
    "figure7_n2": ({"num_groups": 2}, 64, "random", None),
    "figure7_n3": ({"num_groups": 3}, 64, "random", None),
    "figure7_n4": ({}, 64, "random", (29.627, 0.9178)),
    "figure7_n5": ({"num_groups": 5}, 64, "random", None),
    "figure7_n6": ({"num_groups": 6}, 64, "random", None),
    "figure7_n8": ({"num_groups": 8}, 64, "random", None),
    "figure8_1": ({"scales": [1]}, 64, "random", None),
    "figure8_1_2": ({"scales": [1, 2]}, 64, "random", None),
    "figure8_1_2_4": ({}, 64, "random", (29.627, 0.9178)),
    "figure9_with": ({}, 64, "random", (29.627, 0.9178)),
    "figure9_without": ({"use_exemplar": False}, 64, "self", None),
    "exemplar_random": ({}, 64, "random", (29.627, 0.9178)),
    "exemplar_fixed": ({}, 64, "fixed", None),
    "exemplar_self": ({}, 64, "self", None),
    "exemplar_retrieved": ({}, 64, "retrieved", None),
    "search_official": ({"variant": "official"}, 64, "random", None),
    "search_paper": ({}, 64, "random", (29.627, 0.9178)),
    "search_full": ({"window_size": None}, 64, "random", None),
    "search_windowed": ({"window_size": 10}, 64, "random", None),
}
# The parameters that the text gives (4.5 and Table 1).
PARAMETERS = {"figure7_n2": 1.55e6, "figure7_n4": 2.46e6}


@pytest.fixture(scope="module", autouse=True)
def mended():
    register()


@pytest.mark.parametrize("path", FILES + ROWS, ids=lambda path: path.stem)
def test_option_file_validates_and_its_network_runs(path):
    opt = load_options(path)
    settings = dict(opt["network_g"])
    arch = registered("arch")[settings.pop("type")]
    num_blocks = [1, 1, 1, 1] if family(path) == "unirain" else 1
    net = arch(**{**settings, "num_feat": 8, "num_blocks": num_blocks})
    assert net(torch.rand(1, 3, 16, 20)).shape == (1, 3, 16, 20)


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_a_run_is_called_as_its_file(path):
    # Files that share a name would put each other's runs aside.
    assert load_options(path)["name"] == path.stem


@pytest.mark.parametrize("path", TRAINING, ids=lambda path: path.stem)
def test_learning_rate_falls_at_three_and_four_fifths(path):
    train = load_options(path)["train"]
    assert train["scheduler"]["milestones"] == [train["total_iter"] * 3 // 5, train["total_iter"] * 4 // 5]


@pytest.mark.parametrize("name", TRAINING_PAIRS)
def test_full_trainings_are_the_papers(name):
    opt = load_options(OPTIONS / f"train_msgnn_{name}.yml")
    assert opt["network_g"] == {"type": "MSGNNArch", **DEFAULT_NETWORK}
    defaults = registered("arch")["MSGNNArch"].__init__.__kwdefaults__
    assert {key: tuple(v) if key == "scales" else v for key, v in DEFAULT_NETWORK.items()}.items() <= defaults.items()
    dataset = opt["datasets"]["train"]
    assert (dataset["batch_size_per_gpu"], dataset["gt_size"], dataset["exemplar"]) == (8, 64, "random")
    assert opt["train"]["optim_g"] == {"type": "Adam", "lr": 5e-4, "betas": [0.9, 0.999]}
    assert opt["train"]["scheduler"]["gamma"] == 0.1
    assert opt["train"]["pixel_opt"] == {"type": "NegSSIMLoss", "loss_weight": 1.0}
    assert not {"extra_pixel_opt", "perceptual_opt"} & set(opt["train"])
    assert opt["train"]["total_iter"] * 8 == TRAINING_PAIRS[name] * 500


def test_each_row_of_the_papers_tables_is_there():
    assert {path.stem for path in PAPER_ROWS} == set(PAPER)


@pytest.mark.parametrize("path", PAPER_ROWS, ids=lambda path: path.stem)
def test_rows_are_the_papers(path):
    network, patch, exemplar, numbers = PAPER[path.stem]
    opt = load_options(path)
    assert opt["network_g"] == {"type": "MSGNNArch", **DEFAULT_NETWORK, **network}
    for phase in ("train", "val"):
        assert opt["datasets"][phase]["exemplar"] == exemplar
        assert opt["datasets"][phase]["dataroot"] == f"datasets/rain200h/{'test' if phase == 'val' else phase}"
    assert opt["datasets"]["train"]["gt_size"] == patch
    stated = dict(zip(("psnr", "ssim"), numbers)) if numbers else {}
    stated |= {"params": PARAMETERS[path.stem]} if path.stem in PARAMETERS else {}
    assert opt["ablation"].get("paper", {}) == stated
    assert (opt["ablation"]["train_pairs"], opt["ablation"]["test_images"]) == (1800, 200)
    # All else is the Rain200H training's.
    plain = load_options(OPTIONS / "train_msgnn_rain200h.yml")
    assert {**opt["datasets"]["train"], "gt_size": 64, "exemplar": "random"} == plain["datasets"]["train"]
    assert opt["train"].pop("exemplar_bank", 0) == (16 if exemplar == "retrieved" else 0)
    assert (opt["train"], opt["val"], opt["manual_seed"]) == (plain["train"], plain["val"], plain["manual_seed"])
    # Rows that are the default share its run; any other is a run of its own.
    is_default = (network, patch, exemplar) == ({}, 64, "random")
    assert opt["name"] == ("ablation_default" if is_default else f"ablation_{path.stem}")
    assert (stated.get("psnr") == 29.627) == is_default


def test_tables_can_be_named_by_a_pattern():
    titles = {}
    for path in ROWS:
        titles.setdefault(path.stem.partition("_")[0], set()).add(load_options(path)["ablation"]["table"])
    assert all(len(of_prefix) == 1 for of_prefix in titles.values())
    assert len({title for (title,) in titles.values()}) == len(titles)


def test_rain12_is_measured_with_the_rain200h_network():
    opt = load_options(OPTIONS / "test_msgnn_rain12.yml")
    assert opt["path"]["pretrain_network_g"] == "experiments/train_msgnn_rain200h/models/net_g_best.pth"


def test_real_rain_is_measured_without_a_clean_side():
    opt = load_options(OPTIONS / "test_msgnn_real.yml")
    assert {metric["type"] for metric in opt["val"]["metrics"].values()} == {"calculate_niqe"}
    assert opt["datasets"]["test"]["type"] == "RainyExemplarDataset"
    assert opt["val"]["tile"] == "auto"


def test_small_training_leaves_out_the_shared_background():
    opt = load_options(OPTIONS / "train_msgnn_rain200h_cpu.yml")
    assert opt["datasets"]["train"]["exclude"] == ["norain-1"]
    assert opt["num_gpu"] == 0


@pytest.mark.parametrize("path", NLCL, ids=lambda path: path.stem)
def test_nlcl_is_the_authors_but_for_what_its_file_is_about(path):
    opt = load_options(path)
    small = "_cpu" in path.stem
    generator = {"type": "NLCLGenerator", "num_feat": 16 if small else 32, "num_blocks": 6 if small else 16}
    # A short schedule does not teach the authors' form a picture's brightness.
    assert opt["network_g"] == ({**generator, "reversible_norm": True} if small else generator)
    assert opt["network_r"] == generator
    assert opt["network_d"] == {"type": "NLCLDiscriminator", "num_feat": 16 if small else 64}
    train = opt["train"]
    # The short schedule's steps are larger.
    assert train["optim_g"] == {"type": "Adam", "lr": 5e-4 if small else 2e-4, "betas": [0.5, 0.999]}
    schedule = train["scheduler"]
    assert schedule["constant"] + schedule["decay"] == train["total_iter"]
    assert small or schedule["constant"] == 20 * schedule["decay"]
    assert small or (opt["datasets"]["train"]["batch_size_per_gpu"], opt["datasets"]["train"]["gt_size"]) == (1, 256)
    weights = [train[f"{name}_weight"] for name in ("adversarial", "consistency", "sparsity")]
    losses = [train[f"{name}_opt"] for name in ("location", "layer")]
    differs = sum(ours != theirs for ours, theirs in zip(weights, (1.0, 1.0, 0.1)))
    differs += sum(
        loss != {"type": kind, "temperature": 0.07, "loss_weight": 1.0, **counts}
        for loss, kind, counts in (
            (losses[0], "LocationContrastiveLoss", {"num_patches": 256}),
            (losses[1], "LayerContrastiveLoss", {"num_background": 8, "num_rain": 128}),
        )
    )
    differs += train["layer_features"] != "official"
    differs += train["official_faults"]
    plain = path.stem.startswith("train_nlcl") or path.stem.endswith("_all")
    assert differs == (0 if plain else 1)


def test_each_row_of_nlcls_table_is_there():
    rows = [path for path in ROWS if family(path) == "nlcl"]
    assert len({load_options(path)["ablation"]["row"] for path in rows}) == len(rows) == 13


UNIRAIN = {
    "train_unirain": {},
    "unirainrouting_soft_soft": {"network_g.decoder_routing": "soft"},
    "unirainrouting_soft_hard": {},
    "unirainrouting_hard_soft": {"network_g.encoder_routing": "hard", "network_g.decoder_routing": "soft"},
    "unirainrouting_hard_hard": {"network_g.encoder_routing": "hard"},
    "unirainweights_equal": {"train.balancing.mode": "equal"},
    "unirainweights_tbs": {"train.balancing.mode": "tbs"},
    "unirainweights_tss": {"train.balancing.mode": "tss"},
    "unirainweights_paper": {},
    "unirainweights_released": {"train.balancing.mode": "released", "train.balancing.warmup": 20},
}


@pytest.mark.parametrize("path", [path for path in FILES + ROWS if path.stem in UNIRAIN], ids=lambda path: path.stem)
def test_unirain_is_the_papers_but_for_what_its_row_is_about(path):
    opt = load_options(path)
    for key, value in UNIRAIN[path.stem].items():
        *sections, last = key.split(".")
        section = opt
        for name in sections:
            section = section[name]
        assert section[last] == value
        section[last] = {"soft": "hard", "hard": "soft"}[value] if "routing" in key else {20: 0}.get(value, "paper")
    network = opt["network_g"]
    defaults = registered("arch")[network.pop("type")].__init__.__kwdefaults__
    assert network == {key: list(value) if isinstance(value, tuple) else value for key, value in defaults.items()}
    train, dataset = opt["train"], opt["datasets"]["train"]
    assert (train["total_iter"], dataset["batch_size_per_gpu"], dataset["gt_size"]) == (300000, 8, 128)
    assert train["optim_g"] == {"type": "AdamW", "lr": 2e-4}
    assert (train["scheduler"]["periods"], train["scheduler"]["eta_min"]) == ([300000], 1e-6)
    balancing = train["balancing"]
    assert [balancing[key] for key in ("mode", "window", "tau", "warmup")] == ["paper", 10, 5.0, 0]
    # Rows that are the default share its run.
    is_default = path in ROWS and not UNIRAIN[path.stem]
    assert opt["name"] == ("ablation_unirain" if is_default else f"ablation_{path.stem}" if path in ROWS else path.stem)


def test_each_row_of_unirains_tables_is_there():
    assert {path.stem for path in FILES + ROWS if family(path) == "unirain"} == {
        *UNIRAIN,
        *("train_unirain_small", "test_unirain"),
    }
