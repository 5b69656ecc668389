"""Rules between option values that no single kind tells, checked before anything is built or any folder touched."""

import os
from pathlib import Path
from typing import Any

import torch
from torch import nn

from msgnn_plugin.adapters.basicsr.components import registered
from msgnn_plugin.tiling import Tiling

NEEDED_FOR_TRAINING = ("datasets.train", "network_g", "train.total_iter", "train.optim_g", "train.scheduler")
POSITIVE = (
    "train.total_iter",
    "train.accumulate",
    "val.val_freq",
    "logger.print_freq",
    "logger.save_checkpoint_freq",
    "datasets.train.batch_size_per_gpu",
    "datasets.train.dataset_enlarge_ratio",
    "datasets.train.gt_size",
)


def check_rules(opt: dict[str, Any], file: str | Path, is_train: bool) -> None:
    """See that options fit together.

    Args:
        opt: Checked and completed options.
        file: Option file, to begin sentences with.
        is_train: Whether they are to be trained by.

    Raises:
        ValueError: At the first rule that is broken.
    """
    _check_needed(opt, file, is_train)
    for key in POSITIVE:
        value = _get(opt, key)
        if value is not None and value < 1:
            raise ValueError(f"{file}: `{key}` must be at least 1, got {value}.")
    _check_devices(opt, file)
    _check_data_sets(opt, file)
    if is_train:
        _check_training(opt, file)
    _check_save_best(opt, file)
    network = _check_networks(opt, file)
    if is_train:
        _check_bank(opt, file, network)
    _check_tiling(opt, file, network if is_train else None)
    _check_model(opt, file, is_train)


def validation_tiling(opt: dict[str, Any]) -> Tiling:
    """Return how `val` wants large pictures to be cut."""
    val = opt.get("val") or {}
    return Tiling(**{key: val[key] for key in ("tile", "tile_overlap", "tile_database", "memory") if key in val})


def _check_needed(opt: dict[str, Any], file: str | Path, is_train: bool) -> None:
    if not is_train:
        if not opt["datasets"]:
            raise ValueError(f"{file}: `datasets` must hold a `test` or `val` set for testing, got none.")
        if not opt.get("network_g"):
            raise ValueError(f"{file}: `network_g` must be given for testing, got nothing.")
        return
    more = getattr(registered("model").get(opt["model_type"]), "needed_options", ())
    for key in (*NEEDED_FOR_TRAINING, *more):
        if _get(opt, key) is None:
            raise ValueError(f"{file}: `{key}` must be given for training, got nothing.")
    if opt.get("val") is not None and "val_freq" not in opt["val"]:
        raise ValueError(f"{file}: `val.val_freq` must say every how many iterations to validate, got nothing.")


def _check_devices(opt: dict[str, Any], file: str | Path) -> None:
    count = opt["num_gpu"]
    if count == "auto" or count == 0:
        return
    present = torch.cuda.device_count()
    if count < 0 or count > present:
        raise ValueError(f"{file}: `num_gpu` must be auto or in [0, {present}] on this machine, got {count}.")
    if count > 1 and int(os.environ.get("WORLD_SIZE", 1)) == 1:
        raise ValueError(
            f"{file}: `num_gpu` above 1 takes one process a GPU, got {count} in one process. "
            f"Run `torchrun --nproc_per_node {count} -m msgnn_plugin.cli train -opt {file}`."
        )


def _check_data_sets(opt: dict[str, Any], file: str | Path) -> None:
    """Let data sets that have rules of their own see to them."""
    for phase, section in opt["datasets"].items():
        check = getattr(registered("dataset")[section["type"]], "check_options", None)
        if check is not None:
            try:
                check(section, phase == "train")
            except ValueError as error:
                raise ValueError(f"{file}: `datasets.{phase}`: {error}") from error


def _check_training(opt: dict[str, Any], file: str | Path) -> None:
    batch, parts = opt["datasets"]["train"]["batch_size_per_gpu"], opt["train"].get("accumulate", 1)
    if batch % parts:
        raise ValueError(f"{file}: `train.accumulate` must divide `batch_size_per_gpu` = {batch}, got {parts}.")
    clip = opt["train"].get("grad_clip")
    if clip is not None and clip <= 0:
        raise ValueError(f"{file}: `train.grad_clip` must be above 0, got {clip}.")
    if opt["train"].get("amp") == "fp16" and not torch.cuda.is_available():
        raise ValueError(f"{file}: `train.amp` fp16 needs a GPU, got none. Use bf16 or leave it out.")
    decay = opt["train"].get("ema_decay", 0)
    if not 0 <= decay < 1:
        raise ValueError(f"{file}: `train.ema_decay` must be in [0, 1), got {decay}.")


def _check_save_best(opt: dict[str, Any], file: str | Path) -> None:
    val = opt.get("val") or {}
    wanted, metrics = val.get("save_best"), list(val.get("metrics") or {})
    if isinstance(wanted, str) and wanted not in metrics:
        raise ValueError(f"{file}: `val.save_best` must be one of `val.metrics` ({', '.join(metrics)}), got {wanted}.")


def _check_networks(opt: dict[str, Any], file: str | Path) -> nn.Module:
    """Build each network once, so that a setting it refuses is told before the experiment's folder is made.

    Returns:
        The one that derains.
    """
    networks = {}
    for key in (key for key in opt if key.startswith("network_")):
        settings = dict(opt[key])
        try:
            networks[key] = registered("arch")[settings.pop("type")](**settings)
        except (TypeError, ValueError) as error:
            raise ValueError(f"{file}: `{key}`: {error}") from error
    return networks["network_g"]


def _check_bank(opt: dict[str, Any], file: str | Path, network: nn.Module) -> None:
    """See that a bank of exemplars can be made, for a network that looks at them."""
    count, size = (opt["train"].get(key) for key in ("exemplar_bank", "exemplar_bank_size"))
    if count is not None and count < 0:
        raise ValueError(f"{file}: `train.exemplar_bank` must be at least 0, got {count}.")
    if size is not None and (size < 1 or not count):
        rule = "at least 1" if count else "left out where `train.exemplar_bank` is 0"
        raise ValueError(f"{file}: `train.exemplar_bank_size` must be {rule}, got {size}.")
    if count and not (hasattr(network, "set_exemplar_bank") and network.use_exemplar):
        raise ValueError(f"{file}: `train.exemplar_bank` must be 0 for a network that uses no exemplar, got {count}.")


def _check_tiling(opt: dict[str, Any], file: str | Path, network: nn.Module | None) -> None:
    """See that tiles can be laid out, for the network's patches too where the options tell them."""
    try:
        tiling = validation_tiling(opt)
        if network is not None:
            tiling.check_network(network)
    except ValueError as error:
        raise ValueError(f"{file}: `val`: {error}") from error


def _check_model(opt: dict[str, Any], file: str | Path, is_train: bool) -> None:
    """Let the model see that what it takes beyond BasicSR's options fits together."""
    check = getattr(registered("model")[opt["model_type"]], "check_options", None)
    if check is not None:
        try:
            check(opt, is_train)
        except ValueError as error:
            raise ValueError(f"{file}: {error}") from error


def _get(opt: dict[str, Any], key: str) -> Any:
    value: Any = opt
    for part in key.split("."):
        value = value.get(part) if isinstance(value, dict) else None
    return value
