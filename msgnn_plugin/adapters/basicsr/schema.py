"""Which option keys there are and what they hold. Unknown keys and wrong kinds are errors that name file and key."""

import difflib
from collections.abc import Callable
from fnmatch import fnmatchcase
from typing import Any, Literal

from msgnn_plugin.adapters.basicsr.components import Component, registered
from msgnn_plugin.adapters.basicsr.option_types import MismatchError, convert, describe, item_kind

# Dotted keys of BasicSR; a star stands for one name. Models and plugins add theirs (see `Schema.add`).
KEYS: dict[str, Any] = {
    "name": str,
    "model_type": str,
    "scale": int,
    "num_gpu": int | Literal["auto"],
    "manual_seed": int | None,
    "find_unused_parameters": bool,
    "plugins": list[str],
    "dist_params.backend": str,
    "dist_params.port": int,
    "datasets.train": Component("dataset"),
    "datasets.val*": Component("dataset"),
    "datasets.test*": Component("dataset"),
    "network_*": Component("arch"),
    "path.pretrain_network_*": str | None,
    "path.param_key_*": str | None,
    "path.strict_load_*": bool,
    "path.resume_state": str | None,
    "path.ignore_resume_networks": list[str] | None,
    "path.experiments_root": str | None,
    "train.total_iter": int,
    "train.warmup_iter": int,
    "train.ema_decay": float,
    "train.optim_*": Component("optimizer"),
    "train.scheduler": Component("scheduler"),
    "train.pixel_opt": Component("loss"),
    "train.perceptual_opt": Component("loss"),
    "val.val_freq": int,
    "val.save_img": bool,
    "val.suffix": str | None,
    "val.pbar": bool,
    "val.metrics.*": Component("metric"),
    "logger.print_freq": int,
    "logger.save_checkpoint_freq": int,
    "logger.use_tb_logger": bool,
    "logger.wandb.project": str | None,
    "logger.wandb.resume_id": str | None,
    "ablation.table": str,
    "ablation.row": str,
    "ablation.note": str | None,
    "ablation.paper.psnr": float,
    "ablation.paper.ssim": float,
    "ablation.paper.params": float,
    "ablation.train_pairs": int,
    "ablation.test_images": int,
}
# Other models of BasicSR read keys that nobody lists; with those, only what is known is checked.
LISTED_MODELS = ("SRModel",)

Origin = Callable[[tuple[str, ...]], str]


class Schema:
    """The option keys in force for one run: BasicSR's, the chosen model's and those that plugins add."""

    def __init__(self) -> None:
        self.keys = dict(KEYS)

    def add(self, key: str, kind: Any) -> None:
        """Add an option key.

        Args:
            key: Dotted name such as ``train.my_weight``; a star stands for one name.
            kind: A Python annotation (``float``, ``list[int] | None``, ...) or a `Component`.

        Raises:
            ValueError: If the key is there already with another kind.
        """
        if self.keys.get(key, kind) != kind:
            raise ValueError(f"option schema: `{key}` is already taken.")
        self.keys[key] = kind

    def check(self, options: dict[str, Any], origin: Origin) -> dict[str, Any]:
        """Return the options with every value of the kind it should be.

        Args:
            options: Merged options, forced ones included.
            origin: Tells for a key where it was set, to begin the sentence with.

        Returns:
            A converted copy.

        Raises:
            ValueError: At the first unknown key or type.
            TypeError: At the first value of a wrong kind.
        """
        model = options.get("model_type")
        model_class = registered("model").get(model)
        own_keys = getattr(model_class, "option_keys", None)
        if model_class is None:
            self._unknown_name(("model_type",), model, list(registered("model")), origin)
        for key, kind in (own_keys or {}).items():
            self.add(key, kind)
        return self._section(options, (), origin, lenient=own_keys is None and model not in LISTED_MODELS)

    def _section(self, section: dict[str, Any], path: tuple[str, ...], origin: Origin, lenient: bool) -> dict[str, Any]:
        checked = {}
        for key, value in section.items():
            where = (*path, key)
            kind = self._kind(where)
            if isinstance(kind, Component):
                checked[key] = None if value is None else self._component(kind, value, where, origin)
            elif kind is not None:
                checked[key] = _convert(value, kind, where, origin)
            elif self._names_below(where):
                section_below = _convert(value, dict | None, where, origin)
                checked[key] = None if value is None else self._section(section_below, where, origin, lenient)
            elif lenient:
                checked[key] = value
            else:
                self._unknown_key(where, self._names_below(path), origin)
        return checked

    def _component(self, component: Component, value: Any, where: tuple[str, ...], origin: Origin) -> dict[str, Any]:
        value = _convert(value, dict, where, origin)
        if "type" not in value:
            raise ValueError(f"{origin(where)}: `{'.'.join(where)}.type` must name the {component.kind}, got nothing.")
        types = component.types()
        if value["type"] not in types:
            if component.kind == "part" and value["type"] in registered("dataset"):
                place, rule = ".".join((*where, "type")), "a data set whose samples hold lq, gt and exemplar"
                raise ValueError(
                    f"{origin(where)}: `{place}` must be {rule} ({', '.join(types)}), got {value['type']}."
                )
            self._unknown_name((*where, "type"), value["type"], types, origin)
        known, open_ended = component.annotations(value["type"])
        known = {"type": str, **known, **component.extra}
        checked = {}
        for key, item in value.items():
            if isinstance(item_kind(known.get(key)), Component):
                checked[key] = self._by_name(item_kind(known[key]), item, (*where, key), origin)
            elif key in known:
                checked[key] = _convert(item, known[key], (*where, key), origin)
            elif open_ended:
                checked[key] = item
            else:
                self._unknown_key((*where, key), list(known), origin)
        return checked

    def _by_name(self, component: Component, value: Any, where: tuple[str, ...], origin: Origin) -> dict[str, Any]:
        """Check a mapping of names to components; one that holds nothing, as a derived file may say, is left out."""
        value = _convert(value, dict, where, origin)
        for name in value:
            if not isinstance(name, str):
                raise TypeError(f"{origin(where)}: names in `{'.'.join(where)}` must be text, got {name!r}. Quote it.")
        return {
            name: self._component(component, item, (*where, name), origin)
            for name, item in value.items()
            if item is not None
        }

    def _kind(self, where: tuple[str, ...]) -> Any:
        for pattern, kind in self.keys.items():
            parts = pattern.split(".")
            if len(parts) == len(where) and all(map(fnmatchcase, where, parts)):
                return kind
        return None

    def _names_below(self, where: tuple[str, ...]) -> list[str]:
        """Return the names that may follow in a section; none where there is no such section."""
        patterns = [pattern.split(".") for pattern in self.keys]
        return [
            parts[len(where)]
            for parts in patterns
            if len(parts) > len(where) and all(map(fnmatchcase, where, parts[: len(where)]))
        ]

    def _unknown_key(self, where: tuple[str, ...], names: list[str], origin: Origin) -> None:
        prefix = ".".join(where[:-1])
        # The right name may lie in another section, so the last part is looked for everywhere as well.
        elsewhere = {key.rpartition(".")[2]: key for key in self.keys if "*" not in key}
        near = difflib.get_close_matches(where[-1], names, n=1, cutoff=0.5)
        if where[-1] in elsewhere:
            hint = f"Did you mean `{elsewhere[where[-1]]}`?"
        elif near:
            hint = f"Did you mean `{prefix + '.' if prefix else ''}{near[0]}`?"
        else:
            hint = f"Known here: {', '.join(sorted(set(names)))}."
        raise ValueError(f"{origin(where)}: unknown key `{'.'.join(where)}`. {hint}")

    def _unknown_name(self, where: tuple[str, ...], name: Any, names: list[str], origin: Origin) -> None:
        near = difflib.get_close_matches(str(name), names, n=1, cutoff=0.5)
        hint = f"Did you mean {near[0]}?" if near else f"Known: {', '.join(sorted(names))}."
        raise ValueError(f"{origin(where)}: `{'.'.join(where)}` must be a registered name, got {name}. {hint}")


def _convert(value: Any, kind: Any, where: tuple[str, ...], origin: Origin) -> Any:
    try:
        return convert(value, kind)
    except MismatchError:
        message = f"{origin(where)}: `{'.'.join(where)}` must be {describe(kind)}, got {value!r}."
        raise TypeError(message) from None
