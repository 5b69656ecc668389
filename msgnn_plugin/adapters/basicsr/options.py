"""From the command line and an option file to the dictionary that BasicSR's pipelines work with."""

import argparse
import copy
import importlib
import os
import random
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
import yaml

from msgnn_plugin.adapters.basicsr import places, plugins
from msgnn_plugin.adapters.basicsr.arguments import parse_arguments
from msgnn_plugin.adapters.basicsr.option_files import read_options
from msgnn_plugin.adapters.basicsr.option_rules import check_rules
from msgnn_plugin.adapters.basicsr.schema import Schema

FORCED = "--force_yml"
_in_force: dict[str, Any] = {}


def parse_options(root_path: str, is_train: bool = True) -> tuple[dict[str, Any], argparse.Namespace]:
    """Take the place of BasicSR's function of this name: same arguments, same result, nothing executed.

    Args:
        root_path: Folder that holds (or gets) experiments/, results/ and tb_logger/.
        is_train: Training or testing.

    Returns:
        The options as BasicSR's pipelines expect them, and the parsed command line.

    Raises:
        FileNotFoundError: If the option file, a base of it, a data folder or a file of weights does not exist.
        ValueError: If a key is unknown or a value breaks a rule.
        TypeError: If a value is of a wrong kind.
    """
    args = parse_arguments()
    opt = plan_options(args.opt, args.force_yml, Path(root_path), is_train, args.debug)
    _start_processes(opt, args.launcher)
    _settle_seed(opt)
    if opt["num_gpu"] == "auto":
        opt["num_gpu"] = 1 if torch.cuda.is_available() else 0
    _in_force.clear()
    _in_force.update(copy.deepcopy(opt))
    opt["auto_resume"] = args.auto_resume
    opt["is_train"] = is_train
    for phase, dataset in opt["datasets"].items():
        dataset["phase"] = phase.partition("_")[0]
        dataset["seed"] = opt["manual_seed"]
        if "scale" in opt:
            dataset["scale"] = opt["scale"]
    return opt, args


def plan_options(
    file: str | Path, forced: list[str] | None, root: Path, is_train: bool = True, debug: bool = False
) -> dict[str, Any]:
    """Read, complete and check options as a run would, without starting one.

    Args:
        file: Option file.
        forced: ``a:b=VALUE`` entries of the command line.
        root: Where relative paths start.
        is_train: Training or testing.
        debug: Whether to look at everything every few iterations.

    Returns:
        The options, paths resolved.

    Raises:
        FileNotFoundError: If the option file, a base of it, a data folder or a file of weights does not exist.
        ValueError: If a key is unknown or a value breaks a rule.
        TypeError: If a value is of a wrong kind.
    """
    opt = complete_options(file, forced, is_train)
    if debug:
        _shorten(opt)
    check_rules(opt, file, is_train)
    places.resolve_paths(opt, root)
    places.set_folders(opt, root)
    return opt


def options_in_force() -> dict[str, Any]:
    """Return the options of the last parse as a file could hold them, without what BasicSR adds for itself."""
    derived = ("rank", "world_size", "dist")
    content = {key: value for key, value in copy.deepcopy(_in_force).items() if key not in derived}
    kept = ("pretrain_network_", "param_key_", "strict_load_", "resume_state", "ignore_resume_networks")
    content["path"] = {key: value for key, value in content["path"].items() if key.startswith(kept)}
    return content


def load_options(path: str | Path, forced: list[str] | None = None) -> dict[str, Any]:
    """Read, force, and check the options of one file.

    Args:
        path: Option file.
        forced: ``a:b=VALUE`` entries of the command line.

    Returns:
        Plain, checked, converted options.

    Raises:
        FileNotFoundError: If a file does not exist.
        ValueError: If a file is not plain YAML, or a key or type is unknown.
        TypeError: If a value is of a wrong kind.
    """
    opt, chain = read_options(path)
    forced_content: dict[str, Any] = {}
    for entry in forced or []:
        keys, value = parse_forced(entry)
        _set(opt, keys, value)
        _set(forced_content, keys, value)
    schema = Schema()
    plugins.load(opt.get("plugins") or [], schema)
    sources = [(FORCED, forced_content), *((str(file), content) for file, content in chain)]

    def origin(where: tuple[str, ...]) -> str:
        return next((name for name, content in sources if _holds(content, where)), str(path))

    return schema.check(opt, origin)


def parse_forced(entry: str) -> tuple[list[str], Any]:
    """Read one ``a:b=VALUE`` of the command line; the value is YAML, and ``none`` is nothing as in BasicSR.

    Raises:
        ValueError: If it has no such form.
    """
    keys, equals, text = entry.partition("=")
    parts = [part.strip() for part in keys.split(":")]
    if not equals or not all(parts):
        raise ValueError(f"{FORCED}: each entry must be KEY:KEY=VALUE, got {entry!r}.")
    try:
        value = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise ValueError(f"{FORCED}: the value in {entry!r} is not plain YAML.") from error
    return parts, None if isinstance(value, str) and value.lower() == "none" else value


def _set(options: dict[str, Any], keys: list[str], value: Any) -> None:
    for number, key in enumerate(keys[:-1], 1):
        below = options.get(key)
        if below is None:
            below = options[key] = {}
        if not isinstance(below, dict):
            raise ValueError(f"{FORCED}: `{':'.join(keys[:number])}` is a value and has no key `{keys[number]}`.")
        options = below
    options[keys[-1]] = value


def _holds(content: Any, where: tuple[str, ...]) -> bool:
    for key in where:
        if not isinstance(content, dict) or key not in content:
            return False
        content = content[key]
    return True


def complete_options(file: str | Path, forced: list[str] | None = None, is_train: bool = True) -> dict[str, Any]:
    """Load options, fill in what BasicSR reads without asking whether it is there, drop what the command does not use.

    Raises:
        FileNotFoundError, ValueError, TypeError: As `load_options`.
    """
    opt = load_options(file, forced)
    opt.setdefault("name", Path(file).stem)
    opt.setdefault("num_gpu", "auto")
    opt["path"] = opt.get("path") or {}
    logger = opt["logger"] = opt.get("logger") or {}
    for key, value in {"print_freq": 100, "save_checkpoint_freq": 5000, "use_tb_logger": False}.items():
        logger.setdefault(key, value)
    wanted = ("train", "val") if is_train else ("val", "test")
    opt["datasets"] = {
        phase: dataset
        for phase, dataset in (opt.get("datasets") or {}).items()
        if dataset is not None and phase.startswith(wanted)
    }
    for phase, dataset in opt["datasets"].items():
        dataset.setdefault("name", phase)
    for phase, dataset in opt["datasets"].items():
        # torch refuses workers that stay where there are none, and BasicSR validates without any.
        if phase != "train" or not dataset.get("num_worker_per_gpu"):
            dataset["persistent_workers"] = False
    if is_train:
        for key, value in {"batch_size_per_gpu": 1, "num_worker_per_gpu": 0, "dataset_enlarge_ratio": 1}.items():
            opt["datasets"].get("train", {}).setdefault(key, value)
    if opt.get("val") is not None or not is_train:
        opt["val"] = opt.get("val") or {}
        opt["val"].setdefault("save_img", False)
        opt["val"].setdefault("suffix", None)
    return opt


def _shorten(opt: dict[str, Any]) -> None:
    """`--debug`: look at everything every few iterations, apart from the real experiment."""
    if not opt["name"].startswith("debug"):
        opt["name"] = f"debug_{opt['name']}"
    opt["logger"].update(print_freq=1, save_checkpoint_freq=8)
    if opt.get("val") is not None:
        opt["val"]["val_freq"] = 8


def _start_processes(opt: dict[str, Any], launcher: str) -> None:
    opt["dist"] = launcher != "none"
    if opt["dist"] and not dist.is_initialized():
        importlib.import_module("basicsr.utils.dist_util").init_dist(launcher, **opt.get("dist_params", {}))
    opt["rank"], opt["world_size"] = (dist.get_rank(), dist.get_world_size()) if opt["dist"] else (0, 1)


def _settle_seed(opt: dict[str, Any]) -> None:
    """Seed everything; without `manual_seed` the first process draws one for all, and the run's copy records it."""
    if opt.get("manual_seed") is None:
        seed = torch.tensor([random.SystemRandom().randint(1, 10000)])
        if opt["dist"]:
            seed = seed.to("cuda") if dist.get_backend() == "nccl" else seed
            dist.broadcast(seed, src=0)
        opt["manual_seed"] = int(seed)
    importlib.import_module("basicsr.utils").set_random_seed(opt["manual_seed"] + opt["rank"])
    # Without this cuBLAS picks its algorithms by load; it must be set before the first call to be heard.
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
