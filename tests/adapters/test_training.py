import csv
import importlib
import logging
from pathlib import Path

import pytest
import torch
import yaml

from msgnn_plugin.adapters.basicsr import checkpoints
from tests.adapters import tiny_run
from tests.adapters.tiny_run import assert_same_weights, make_project, run, tiny_options, weights_of, write_options


def read_csv(path: Path) -> list[dict[str, str]]:
    return list(csv.DictReader(path.open()))


def test_trains_validates_saves_and_tests(tmp_path):
    option_file = make_project(tmp_path)
    run("train", option_file)
    home = tmp_path / "experiments" / "tiny"
    assert {path.name for path in (home / "models").iterdir()} == {
        *(f"net_g_{iteration}.pth" for iteration in (2, 4, 6, 8, "latest", "best"))
    }
    rows = read_csv(home / "metrics" / "first" / "8.csv")
    assert [row["image"] for row in rows] == ["1", "2", "mean"]
    assert float(rows[2]["psnr"]) == pytest.approx((float(rows[0]["psnr"]) + float(rows[1]["psnr"])) / 2, abs=1e-5)

    run("test", write_options(tmp_path / "options" / "test.yml", tiny_run.measuring_options()))
    tested = read_csv(tmp_path / "results" / "measured" / "metrics" / "first.csv")
    # Same weights, same exemplars: the test pipeline agrees with the validation.
    assert [row["psnr"] for row in tested] == [row["psnr"] for row in rows]
    assert float(tested[2]["input_psnr"]) > 0


def test_validates_and_tests_in_tiles(tmp_path):
    options = tiny_options()
    options["val"].update(tile=14, tile_overlap=5, tile_database="tile")
    run("train", make_project(tmp_path, options))
    (tmp_path / "experiments/tiny/metrics/first/8.csv").rename(tmp_path / "tiles.csv")
    tiles = [float(row["psnr"]) for row in read_csv(tmp_path / "tiles.csv")]
    test_file = write_options(tmp_path / "options" / "test.yml", tiny_run.measuring_options())
    values = {}
    for name, forced in {
        "tiles": ("val:tile=14", "val:tile_overlap=5", "val:tile_database=tile"),
        "image": ("val:tile=14", "val:tile_overlap=5"),
        "auto": ("val:tile=auto",),
        "whole": (),
    }.items():
        run("test", test_file, "--force_yml", f"name={name}", *forced)
        results = read_csv(tmp_path / "results" / name / "metrics/first.csv")
        values[name] = [float(row["psnr"]) for row in results]
    assert values["tiles"] == tiles
    assert values["auto"] == values["whole"]
    for name in ("tiles", "image"):
        assert values[name] != values["whole"]
        assert values[name] == pytest.approx(values["whole"], abs=0.5)
    with pytest.raises(MemoryError, match=r"24 x 24 pixels need about .* no smaller tiles would fit"):
        run("test", test_file, "--force_yml", "name=scarce", "val:memory=0.001")


@pytest.mark.parametrize("workers", [0, 2])
def test_resumes_bit_identically_from_any_folder(tmp_path, monkeypatch, workers):
    option_file = make_project(tmp_path / "whole")
    forced = ["--force_yml", f"datasets:train:num_worker_per_gpu={workers}", "datasets:train:persistent_workers=true"]
    run("train", option_file, *forced)
    option_file = make_project(tmp_path / "broken")
    # Iteration 6 lies within an epoch of ceil(5 / 2) = 3 iterations' end, 4 amid one.
    for stop in (2, 4, 6):
        run("train", option_file, "--auto_resume", *forced, f"train:total_iter={stop}")
    monkeypatch.chdir("/")
    run("train", option_file, "--auto_resume", *forced)
    assert_same_weights(weights_of(tmp_path / "whole"), weights_of(tmp_path / "broken"))
    assert (
        weights_of(tmp_path / "whole", "net_g_best.pth")["best"]
        == (weights_of(tmp_path / "broken", "net_g_best.pth")["best"])
    )


def test_an_unfinished_validation_is_made_up_for(tmp_path, monkeypatch):
    option_file = make_project(tmp_path)
    models = pytest.importorskip("msgnn_plugin.adapters.basicsr.models")
    whole = models.MSGNNModel.nondist_validation

    def killed(self, loader, current_iter, *rest):
        raise KeyboardInterrupt

    monkeypatch.setattr(models.MSGNNModel, "nondist_validation", killed)
    with pytest.raises(KeyboardInterrupt):
        run("train", option_file)
    assert not (tmp_path / "experiments/tiny/metrics").exists()
    monkeypatch.setattr(models.MSGNNModel, "nondist_validation", whole)
    run("train", option_file, "--auto_resume")
    assert {path.stem for path in (tmp_path / "experiments/tiny/metrics/first").iterdir()} == {"4", "8"}


def test_explicit_state_of_another_experiment(tmp_path):
    option_file = make_project(tmp_path)
    run("train", option_file)
    state = tmp_path / "experiments/tiny/training_states/4.state"
    run("train", option_file, "--force_yml", "name=second", f"path:resume_state={state}")
    assert_same_weights(weights_of(tmp_path), weights_of(tmp_path, name="second"))


def test_passes_over_a_state_whose_weights_are_broken(tmp_path):
    option_file = make_project(tmp_path)
    run("train", option_file)
    expected = weights_of(tmp_path)
    models = tmp_path / "experiments/tiny/models"
    (models / "net_g_8.pth").write_bytes((models / "net_g_8.pth").read_bytes()[:1000])
    (tmp_path / "experiments/tiny/training_states/6.state").write_bytes(b"")
    assert checkpoints.newest_checkpoint(tmp_path / "experiments/tiny/training_states").name == "4.state"
    run("train", option_file, "--auto_resume")
    assert_same_weights(expected, weights_of(tmp_path))


def test_refuses_to_start_anew_over_unreadable_states(tmp_path):
    (tmp_path / "10.state").write_bytes(b"nothing")
    with pytest.raises(ValueError, match="none of the 1 states and its weights can be read"):
        checkpoints.newest_checkpoint(tmp_path)


def test_accumulation_equals_the_whole_batch(tmp_path):
    options = tiny_options()
    # Adam divides by the gradient's size, which blows rounding up; a short run stays comparable.
    options["train"]["total_iter"] = 2
    options["datasets"]["train"]["batch_size_per_gpu"] = 4
    run("train", make_project(tmp_path / "one", options))
    options["train"]["accumulate"] = 4
    run("train", make_project(tmp_path / "four", options))
    one, four = weights_of(tmp_path / "one")["params"], weights_of(tmp_path / "four")["params"]
    for name, value in one.items():
        torch.testing.assert_close(four[name], value, atol=1e-4, rtol=1e-3)


def test_clipping_bounds_the_first_step(tmp_path):
    options = tiny_options()
    options["train"].update(total_iter=2, grad_clip=1e-12)
    run("train", make_project(tmp_path, options))
    clipped = weights_of(tmp_path)["params"]
    options["train"].pop("grad_clip")
    run("train", make_project(tmp_path / "free", options))
    free = weights_of(tmp_path / "free")["params"]
    # With gradients far below Adam's epsilon hardly anything moves.
    assert any((free[name] - clipped[name]).abs().max() > 1e-3 for name in free if free[name].is_floating_point())


def test_all_extras_together(tmp_path):
    options = tiny_options()
    options["train"].update(total_iter=4, amp="bf16", accumulate=2, grad_clip=1.0, extra_pixel_opt={"type": "L1Loss"})
    options["channels_last"] = True
    options["datasets"]["val_2"] = {**options["datasets"]["val"], "name": "second"}
    options["val"].update(compare=True, save_img=True, input_metrics=True, save_best="ssim")
    run("train", make_project(tmp_path, options))
    home = tmp_path / "experiments/tiny"
    assert (home / "metrics/second/4.csv").is_file()
    assert (home / "visualization/1/1_4.png").is_file()
    assert (home / "visualization/1/1_4_compare.png").is_file()
    assert weights_of(tmp_path, "net_g_best.pth")["best"]["metric"] == "ssim"


def test_averaged_network_takes_over_buffers(tmp_path):
    option_file = make_project(tmp_path)
    run("train", option_file)
    weights = weights_of(tmp_path)
    assert torch.equal(weights["params"]["hyper"], weights["params_ema"]["hyper"])
    name = "stem.weight"
    assert not torch.equal(weights["params"][name], weights["params_ema"][name])


def test_nan_loss_stops_before_the_update(tmp_path, monkeypatch):
    option_file = make_project(tmp_path)
    from msgnn_plugin.losses import NegSSIMLoss

    calls = []
    forward = NegSSIMLoss.forward

    def break_at_third(self, derained, clean):
        calls.append(1)
        return forward(self, derained, clean) * (float("nan") if len(calls) == 3 else 1)

    monkeypatch.setattr(NegSSIMLoss, "forward", break_at_third)
    with pytest.raises(RuntimeError, match=r"`l_pix` must be finite, got nan at iteration 3.*2\.state"):
        run("train", option_file)
    assert (tmp_path / "experiments/tiny/models/net_g_2.pth").is_file()
    assert not (tmp_path / "experiments/tiny/models/net_g_latest.pth").exists()


class FullDisk:
    """Every checkpoint write fails between two iterations, as on a full disk."""

    def __init__(self, monkeypatch, failing):
        self.count = 0
        self.failing = failing
        self.write = checkpoints.write_bytes_atomic
        monkeypatch.setattr(checkpoints, "write_bytes_atomic", self)

    def __call__(self, path, data):
        self.count += 1
        if self.count in self.failing:
            raise OSError(28, "No space left on device", str(path))
        self.write(path, data)


def test_full_disk_costs_one_checkpoint(tmp_path, monkeypatch):
    option_file = make_project(tmp_path)
    # Writes: net 2, state 2, net 4 (fails), best 4, net 6, state 6, ...
    FullDisk(monkeypatch, {3})
    run("train", option_file)
    models = tmp_path / "experiments/tiny/models"
    assert not (models / "net_g_4.pth").exists()
    assert not (tmp_path / "experiments/tiny/training_states/4.state").exists()
    assert (models / "net_g_6.pth").is_file()
    log = next((tmp_path / "experiments/tiny").glob("train_*.log")).read_text()
    assert "Cannot write" in log
    assert "No space left on device" in log


def test_full_disk_at_the_end_is_an_error(tmp_path, monkeypatch):
    option_file = make_project(tmp_path)
    FullDisk(monkeypatch, range(3, 100))
    with pytest.raises(OSError, match="No space left"):
        run("train", option_file)
    assert checkpoints.newest_checkpoint(tmp_path / "experiments/tiny/training_states").name == "2.state"


def test_the_experiment_keeps_the_options_in_force(tmp_path):
    options = tiny_options()
    base = {"train": options.pop("train"), "val": options.pop("val")}
    write_options(tmp_path / "options" / "_base_" / "shared.yml", base)
    option_file = make_project(tmp_path, {"_base_": "_base_/shared.yml", **options})
    run("train", option_file, "--force_yml", "train:total_iter=2")
    copy = yaml.safe_load((tmp_path / "experiments/tiny/tiny.yml").read_text())
    assert copy["train"]["total_iter"] == 2
    assert copy["train"]["optim_g"]["lr"] == 0.01
    assert "_base_" not in copy


def test_a_second_run_puts_the_first_one_aside(tmp_path):
    option_file = make_project(tmp_path)
    run("train", option_file, "--force_yml", "train:total_iter=2")
    run("train", option_file, "--force_yml", "train:total_iter=2")
    assert len(list((tmp_path / "experiments").glob("tiny_archived_*"))) == 1


def test_stock_data_set_trains_too(tmp_path):
    options = tiny_options()
    options["scale"] = 1
    options["datasets"]["train"] = {
        "type": "PairedImageDataset",
        "dataroot_lq": "data/train/rain",
        "dataroot_gt": "data/train/norain",
        "io_backend": {"type": "disk"},
        "gt_size": 12,
        "use_hflip": False,
        "use_rot": False,
        "batch_size_per_gpu": 2,
    }
    run("train", make_project(tmp_path, options))
    assert (tmp_path / "experiments/tiny/models/net_g_latest.pth").is_file()


def test_an_older_state_of_the_same_number_stays_as_it_is(tmp_path):
    option_file = make_project(tmp_path)
    run("train", option_file)
    states = tmp_path / "experiments/tiny/training_states"
    before = (states / "8.state").read_bytes()
    # Goes another way from 4 on and validates at 8 without saving there.
    forced = [f"path:resume_state={states / '4.state'}", "logger:save_checkpoint_freq=100", "train:optim_g:lr=1e-3"]
    run("train", option_file, "--force_yml", *forced)
    assert (states / "8.state").read_bytes() == before


def test_compares_the_same_with_a_cpu_prefetcher(tmp_path):
    run("train", make_project(tmp_path / "one"))
    run("train", make_project(tmp_path / "two"), "--force_yml", "datasets:train:prefetch_mode=cpu")
    assert_same_weights(weights_of(tmp_path / "one"), weights_of(tmp_path / "two"))


@pytest.mark.slow
def test_compiled_training_keeps_plain_checkpoints(tmp_path):
    run("train", make_project(tmp_path / "plain"), "--force_yml", "train:total_iter=2")
    run("train", make_project(tmp_path / "compiled"), "--force_yml", "train:total_iter=2", "train:compile=true")
    plain, compiled = weights_of(tmp_path / "plain")["params"], weights_of(tmp_path / "compiled")["params"]
    assert plain.keys() == compiled.keys()
    for name, value in plain.items():
        torch.testing.assert_close(compiled[name], value, atol=1e-3, rtol=1e-2)


def test_logs_are_closed(tmp_path):
    run("train", make_project(tmp_path), "--force_yml", "train:total_iter=2")
    assert logging.getLogger("basicsr").handlers == []


def test_a_logger_that_was_asked_for_before_costs_no_log(tmp_path):
    importlib.import_module("basicsr.utils").get_root_logger()
    run("train", make_project(tmp_path), "--force_yml", "train:total_iter=1")
    (log,) = (tmp_path / "experiments/tiny").glob("train_tiny_*.log")
    assert "End of training" in log.read_text()
