"""Our data sets under BasicSR's calling form: one dictionary of options."""

from typing import Any, Literal

from msgnn_plugin.adapters.basicsr import compat
from msgnn_plugin.adapters.basicsr.components import Component, registered
from msgnn_plugin.data.mixed import MixedDataset as MixedCore
from msgnn_plugin.data.mixed import check_shares
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

    mixable = True  # Its samples hold what a part of a MixedRainDataset must give.
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

    mixable = True  # As above.
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


class MixedRainDataset(MixedCore):
    """`msgnn_plugin.data.MixedDataset` built from a section of BasicSR's options, for training.

    Args:
        opt: The section. ``parts`` maps names to sections of data sets that are ``mixable``, each with a ``share``, 1
            where it is left out; the other keys of the section hold for all parts that do not set them themselves.

    Raises:
        FileNotFoundError: If a part's folder is missing or empty.
        ValueError: If the section is of another phase, has no ``gt_size`` or no part, or a part refuses its own.
    """

    option_keys: dict[str, Any] = {  # noqa: RUF012 - read by the schema, never changed
        "type": str,
        "parts": dict[str, Component("part")],
        "use_hflip": bool,
        "use_rot": bool,
    }

    def __init__(self, opt: dict[str, Any]) -> None:
        self.opt = opt
        self.check_options(opt, training=opt.get("phase") == "train")
        shared = {key: value for key, value in opt.items() if key not in ("type", "name", "parts")}
        parts = {}
        for name, part in opt["parts"].items():
            build = registered("dataset")[part["type"]]
            try:
                parts[name] = build({**shared, **part}), part.get("share", 1)
            except (FileNotFoundError, ValueError) as error:
                kind = FileNotFoundError if isinstance(error, FileNotFoundError) else ValueError
                raise kind(f"MixedRainDataset: part `{name}`: {error}") from error
        super().__init__(parts, seed=opt.get("seed", 0))

    @staticmethod
    def check_options(opt: dict[str, Any], training: bool) -> None:
        """See that a section can be built, without looking at any file.

        Raises:
            ValueError: At the first rule that is broken.
        """
        if not training:
            rule = "the training set, as what it gives is drawn by chance"
            raise ValueError(
                f"MixedRainDataset: it must be {rule}, got another phase. Measure its parts' sets one by one."
            )
        if opt.get("gt_size") is None:
            raise ValueError(
                "MixedRainDataset: `gt_size` must be given, as a batch mixes crops of all parts, got nothing."
            )
        shares = {name: part.get("share", 1) for name, part in (opt.get("parts") or {}).items()}
        check_shares(shares, "MixedRainDataset")


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
