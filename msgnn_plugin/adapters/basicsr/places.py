"""Where an option file's relative paths lead, and one helpful sentence where nothing lies there."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from msgnn_plugin.weights import read_index, weights_path

DATA_KEYS = ("dataroot", "dataroot_lq", "dataroot_gt", "dataroot_clean", "exemplar_path")
# What a user needs to hear about the sets that the shipped option files name. Links and layouts: datasets/README.md.
KNOWN_SETS = {
    "rain200h": "Rain200H (1,800 training and 200 test pairs)",
    "rain200l": "Rain200L (1,800 training and 200 test pairs)",
    "rain800": "Rain800 (700 training and 100 test pairs)",
    "rain1200": "Rain1200 (12,000 training and 1,200 test pairs)",
    "rain1400": "Rain1400 (12,600 training and 1,400 test pairs)",
    "rain100h": "Rain100H (1,800 training and 100 test pairs)",
    "rain100l": "Rain100L (100 test pairs)",
    "rain12": "Rain12 (12 test pairs)",
    "real_rain": "rainy photographs, in one folder",
    "clean_bsd": "the clean photographs of BSDS500, in folders at any depth",
}


def resolve_paths(opt: dict[str, Any], root: Path) -> None:
    """Make the paths in ``opt`` absolute and see that they exist.

    Args:
        opt: Options; data folders and ``path`` entries are changed in place.
        root: Where relative paths start. Data that is not there may also lie below the working directory.

    Raises:
        FileNotFoundError: If a data folder or a file of weights does not exist.
    """
    for where, section in _data_sections(opt["datasets"]):
        for key in DATA_KEYS:
            if section.get(key) is not None:
                section[key] = str(_data_folder(section[key], root, f"{where}.{key}"))
    for key, value in opt["path"].items():
        if value is not None and ("resume_state" in key or "pretrain_network" in key):
            opt["path"][key] = str(_weights(value, root, f"path.{key}"))


def _data_sections(datasets: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield (dotted key, section) of every data set and of the parts of mixed ones."""
    for phase, section in datasets.items():
        yield f"datasets.{phase}", section
        parts = section.get("parts") if section.get("type") == "MixedRainDataset" else None
        for name, part in (parts or {}).items():
            yield f"datasets.{phase}.parts.{name}", part


def set_folders(opt: dict[str, Any], root: Path) -> None:
    """Write the folders of this run into ``opt["path"]`` under BasicSR's names.

    ``path.experiments_root`` is where experiments lie on the way in, and the folder of this one on the way out.
    """
    training = "train" in opt["datasets"]
    home = experiment_folder(opt, root) if training else root / "results" / opt["name"]
    opt["path"].pop("experiments_root", None)
    folders = {"log": home, "visualization": home / "visualization"}
    if training:
        folders |= {"experiments_root": home, "models": home / "models", "training_states": home / "training_states"}
    else:
        folders["results_root"] = home
    opt["path"].update({key: str(folder) for key, folder in folders.items()})


def experiment_folder(opt: dict[str, Any], root: Path) -> Path:
    """Return the folder of a training run."""
    return root / Path((opt.get("path") or {}).get("experiments_root") or "experiments").expanduser() / opt["name"]


def data_candidates(value: str, root: Path) -> list[Path]:
    """Return where a data folder may lie, likeliest first."""
    path = Path(value).expanduser()
    return [path] if path.is_absolute() else [root / path, Path.cwd() / path]


def _data_folder(value: str, root: Path, where: str) -> Path:
    candidates = data_candidates(value, root)
    for candidate in candidates:
        if candidate.exists():
            return candidate
    wanted = next(
        (text for name, text in KNOWN_SETS.items() if name in Path(value.lower()).parts),
        "a folder of rainy and clean pairs",
    )
    raise FileNotFoundError(
        f"`{where}`: there is no {candidates[0]}. Put {wanted} there, as unpacked or as a link "
        f"(`ln -s WHERE_IT_LIES {candidates[0]}`); datasets/README.md says where to get each set."
    )


def _weights(value: str, root: Path, where: str) -> Path:
    if value in read_index().weights:
        return weights_path(value, root)
    path = Path(value).expanduser()
    path = path if path.is_absolute() else root / path
    # A run that was stopped before its first validation has no best weights yet.
    latest = path.with_name("net_g_latest.pth")
    if not path.is_file() and path.name == "net_g_best.pth" and latest.is_file():
        return latest
    if not path.is_file():
        raise FileNotFoundError(
            f"`{where}`: there is no {path}. Train first (`basicsr train -opt ...`), or name a file by "
            f"`--force_yml {where.replace('.', ':')}=FILE`."
        )
    return path
