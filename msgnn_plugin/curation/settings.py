"""The settings of a distillation."""

import dataclasses
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

_MEASURING = ({"kind": "measured", "window": 0}, {"kind": "measured", "window": 1}, {"kind": "measured", "window": 2})


@dataclass(frozen=True)
class DistillSettings:
    """What decides about pairs; all of it is plain values, as an option file holds them.

    Attributes:
        describer: ``{kind: measured}``, or ``{kind: pretrained, blip: NAME, clip: NAME, device: cpu}`` with local
            folders or names on the hub.
        text_nearest: K1, references kept by their captions (Eq. 1); 0 judges without references.
        feature_nearest: K2, those of them kept by their features (Eq. 2).
        image_nearest: K3, those of them kept by SSIM (Eq. 3): what judges are shown.
        judges: An odd number of judges, each ``{kind: measured, window: 0 / 1 / 2}`` or ``{kind: chat, name, url,
            model, ...}`` as `ChatJudge` takes it. Empty keeps whatever can be read and is no duplicate.
        duplicates: Whether to drop all but the first of pairs that are one picture saved anew.
        limits: Limits of the measuring judges by name, see `Limits`.
    """

    describer: dict[str, Any] = field(default_factory=lambda: {"kind": "measured"})
    text_nearest: int = 64
    feature_nearest: int = 8
    image_nearest: int = 3
    judges: tuple[dict[str, Any], ...] = _MEASURING
    duplicates: bool = True
    limits: dict[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        nearest = (self.text_nearest, self.feature_nearest, self.image_nearest)
        if self.text_nearest and not self.text_nearest >= self.feature_nearest >= self.image_nearest >= 1:
            raise ValueError(
                "distill: `text_nearest` >= `feature_nearest` >= `image_nearest` >= 1 must hold, or `text_nearest` be "
                f"0 for none, got {nearest}."
            )
        if self.judges and len(self.judges) % 2 == 0:
            raise ValueError(f"distill: `judges` must be an odd number or none, got {len(self.judges)}.")


def load_settings(path: str | Path | None) -> DistillSettings:
    """Read settings from a YAML file; None gives the defaults.

    Raises:
        OSError: If the file cannot be read.
        ValueError: If a key is unknown or a value out of its range.
    """
    if path is None:
        return DistillSettings()
    values = yaml.safe_load(Path(path).read_text(encoding="utf-8")) or {}
    known = {entry.name for entry in dataclasses.fields(DistillSettings)}
    if not isinstance(values, dict) or not known.issuperset(values):
        got = ", ".join(sorted(map(str, set(values) - known))) if isinstance(values, dict) else repr(values)
        raise ValueError(f"distill: {path} must hold settings out of {', '.join(sorted(known))}, got {got}.")
    if "judges" in values:
        values["judges"] = tuple(values["judges"] or ())
    return DistillSettings(**values)
