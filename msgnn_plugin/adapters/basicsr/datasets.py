"""Our data sets under BasicSR's calling form: one dictionary of options."""

from typing import Any, Literal

from msgnn_plugin.adapters.basicsr import compat
from msgnn_plugin.data.paired import PairedExemplarDataset as PairedCore
from msgnn_plugin.data.rainy import RainyExemplarDataset as RainyCore
from msgnn_plugin.data.synthetic import SyntheticRainDataset as SyntheticCore
from msgnn_plugin.data.typed_pairs import SyntheticTypedDataset as SyntheticTypedCore
from msgnn_plugin.data.typed_pairs import TypedPairDataset as TypedPairCore
from msgnn_plugin.data.unpaired import UnpairedRainDataset as UnpairedCore

# A spawned loader worker unpickles the data set first; what it imports next of BasicSR must find the mends in place.
compat.apply_before_import()


class PairedExemplarDataset(PairedCore):
    """`msgnn_plugin.data.PairedExemplarDataset` built from a section of BasicSR's options.

    Args:
        opt: The section. Training sections crop to ``gt_size``; others give whole images.
    """

    option_keys: dict[str, Any] = {  # noqa: RUF012 - read by the schema, never changed
        "type": str,
        "dataroot": str | None,
        "dataroot_lq": str | None,
        "dataroot_gt": str | None,
        "left": Literal["clean", "rainy"],
        "use_hflip": bool,
        "use_rot": bool,
        "exemplar": Literal["random", "fixed", "self", "retrieved"],
        "exemplar_path": str | None,
        "exemplar_nearest": int,
        "exclude": list[str],
    }

    def __init__(self, opt: dict[str, Any]) -> None:
        self.opt = opt
        super().__init__(
            root=opt.get("dataroot"),
            rainy_root=opt.get("dataroot_lq"),
            clean_root=opt.get("dataroot_gt"),
            left=opt.get("left", "clean"),
            exemplar=opt.get("exemplar", "random"),
            exemplar_path=opt.get("exemplar_path"),
            exemplar_nearest=opt.get("exemplar_nearest", 5),
            exclude=opt.get("exclude", ()),
            **_sample_settings(opt),
        )


class SyntheticRainDataset(SyntheticCore):
    """`msgnn_plugin.data.SyntheticRainDataset` built from a section of BasicSR's options.

    Args:
        opt: The section. Training sections crop to ``gt_size``; others give whole images.
    """

    option_keys: dict[str, Any] = {  # noqa: RUF012 - read by the schema, never changed
        "type": str,
        "dataroot": str,
        "preset": str,
        "use_hflip": bool,
        "use_rot": bool,
        "exemplar": Literal["random", "fixed", "self"],
        "exclude": list[str | int],
    }

    def __init__(self, opt: dict[str, Any]) -> None:
        self.opt = opt
        _require("SyntheticRainDataset", opt, "dataroot", "preset")
        super().__init__(
            root=opt["dataroot"],
            preset=opt["preset"],
            exemplar=opt.get("exemplar", "random"),
            exclude=opt.get("exclude", ()),
            **_sample_settings(opt),
        )


class RainyExemplarDataset(RainyCore):
    """`msgnn_plugin.data.rainy.RainyExemplarDataset` built from a section of BasicSR's options, for testing.

    Args:
        opt: The section.
    """

    option_keys: dict[str, Any] = {  # noqa: RUF012 - read by the schema, never changed
        "type": str,
        "dataroot": str,
        "exemplar": Literal["random", "fixed", "self", "retrieved"],
        "exemplar_path": str | None,
        "exemplar_nearest": int,
        "exclude": list[str],
    }

    def __init__(self, opt: dict[str, Any]) -> None:
        self.opt = opt
        super().__init__(
            root=opt["dataroot"],
            exemplar=opt.get("exemplar", "random"),
            exemplar_path=opt.get("exemplar_path"),
            exemplar_nearest=opt.get("exemplar_nearest", 5),
            exclude=opt.get("exclude", ()),
            seed=opt.get("seed", 0),
        )


class UnpairedRainDataset(UnpairedCore):
    """`msgnn_plugin.data.UnpairedRainDataset` built from a section of BasicSR's options, for training.

    Args:
        opt: The section. ``gt_size`` is the crop's side, the authors' 256 where it is left out.
    """

    option_keys: dict[str, Any] = {  # noqa: RUF012 - read by the schema, never changed
        "type": str,
        "dataroot_lq": str,
        "dataroot_clean": str,
        "left": Literal["clean", "rainy"],
        "use_hflip": bool,
        "use_rot": bool,
        "exclude": list[str | int],
        "exclude_clean": list[str | int],
    }

    def __init__(self, opt: dict[str, Any]) -> None:
        self.opt = opt
        _require("UnpairedRainDataset", opt, "dataroot_lq", "dataroot_clean")
        super().__init__(
            rainy_root=opt["dataroot_lq"],
            clean_root=opt["dataroot_clean"],
            left=opt.get("left", "clean"),
            crop_size=256 if opt.get("gt_size") is None else opt["gt_size"],
            flip=opt.get("use_hflip", False),
            rotate=opt.get("use_rot", False),
            exclude=opt.get("exclude", ()),
            exclude_clean=opt.get("exclude_clean", ()),
            seed=opt.get("seed", 0),
        )


class TypedPairDataset(TypedPairCore):
    """`msgnn_plugin.data.TypedPairDataset` built from a section of BasicSR's options.

    Args:
        opt: The section. Training sections crop to ``gt_size``; others give whole images.
    """

    option_keys: dict[str, Any] = {  # noqa: RUF012 - read by the schema, never changed
        "type": str,
        "dataroot": str,
        "types": list[str],
        "sampling": Literal["natural", "balanced"],
        "limit": int | None,
        "use_hflip": bool,
        "use_rot": bool,
    }

    def __init__(self, opt: dict[str, Any]) -> None:
        self.opt = opt
        own = {key: opt[key] for key in ("types", "sampling", "limit") if key in opt}
        _require("TypedPairDataset", opt, "dataroot")
        super().__init__(root=opt["dataroot"], **_sample_settings(opt), **own)


class SyntheticTypedDataset(SyntheticTypedCore):
    """`msgnn_plugin.data.SyntheticTypedDataset` built from a section of BasicSR's options.

    Args:
        opt: The section. Training sections crop to ``gt_size``; others give whole images.
    """

    option_keys: dict[str, Any] = {  # noqa: RUF012 - read by the schema, never changed
        "type": str,
        "dataroot": str,
        "types": list[str],
        "subset": Literal["all", "train", "val"],
        "limit": int | None,
        "exclude": list[str | int],
        "use_hflip": bool,
        "use_rot": bool,
    }

    def __init__(self, opt: dict[str, Any]) -> None:
        self.opt = opt
        own = {key: opt[key] for key in ("types", "subset", "limit", "exclude") if key in opt}
        _require("SyntheticTypedDataset", opt, "dataroot")
        super().__init__(root=opt["dataroot"], **_sample_settings(opt), **own)


def _require(where: str, opt: dict[str, Any], *keys: str) -> None:
    for key in keys:
        if opt.get(key) is None:
            raise ValueError(f"{where}: `{key}` must be given, got nothing.")


def _sample_settings(opt: dict[str, Any]) -> dict[str, Any]:
    """Return the keywords of crops, turns and draws: whole pictures as they are but in training."""
    training = opt.get("phase") == "train"
    return {
        "crop_size": opt.get("gt_size") if training else None,
        "flip": training and opt.get("use_hflip", False),
        "rotate": training and opt.get("use_rot", False),
        "seed": opt.get("seed", 0),
    }
