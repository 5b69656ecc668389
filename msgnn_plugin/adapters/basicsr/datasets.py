"""Our data sets under BasicSR's calling form: one dictionary of options."""

from typing import Any, Literal

from msgnn_plugin.adapters.basicsr import compat
from msgnn_plugin.data.paired import PairedExemplarDataset as PairedCore
from msgnn_plugin.data.rainy import RainyExemplarDataset as RainyCore
from msgnn_plugin.data.synthetic import SyntheticRainDataset as SyntheticCore
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
        training = opt.get("phase") == "train"
        super().__init__(
            root=opt.get("dataroot"),
            rainy_root=opt.get("dataroot_lq"),
            clean_root=opt.get("dataroot_gt"),
            left=opt.get("left", "clean"),
            crop_size=opt.get("gt_size") if training else None,
            flip=training and opt.get("use_hflip", False),
            rotate=training and opt.get("use_rot", False),
            exemplar=opt.get("exemplar", "random"),
            exemplar_path=opt.get("exemplar_path"),
            exemplar_nearest=opt.get("exemplar_nearest", 5),
            exclude=opt.get("exclude", ()),
            seed=opt.get("seed", 0),
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
        training = opt.get("phase") == "train"
        missing = [key for key in ("dataroot", "preset") if key not in opt]
        if missing:
            raise ValueError(f"SyntheticRainDataset: `{missing[0]}` must be given, got nothing.")
        super().__init__(
            root=opt["dataroot"],
            preset=opt["preset"],
            crop_size=opt.get("gt_size") if training else None,
            flip=training and opt.get("use_hflip", False),
            rotate=training and opt.get("use_rot", False),
            exemplar=opt.get("exemplar", "random"),
            exclude=opt.get("exclude", ()),
            seed=opt.get("seed", 0),
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
        missing = [key for key in ("dataroot_lq", "dataroot_clean") if opt.get(key) is None]
        if missing:
            raise ValueError(f"UnpairedRainDataset: `{missing[0]}` must be given, got nothing.")
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
