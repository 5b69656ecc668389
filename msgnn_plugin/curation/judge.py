"""Judges of pairs: what they are told, and the one that judges by measurement. The limits are ours."""

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from msgnn_plugin.curation.describe import Description
from msgnn_plugin.curation.measures import PairMeasures, measure_pair
from msgnn_plugin.curation.retrieve import Reference
from msgnn_plugin.curation.vote import Verdict

# A window's side: large enough for every measure, small enough that three cost less than reading a large photograph.
_WINDOW_SIDE = 256
_WINDOW_PLACES = (0.5, 0.0, 1.0)


@dataclass(frozen=True)
class Case:
    """What a judge is told of a pair.

    Attributes:
        rainy: RGB, shape (H, W, 3), uint8.
        clean: The other side, of equal shape.
        description: What is known of the rainy side.
        references: Real rain that was found for it, most similar structure first; none if none is looked for.
        spacing: How far apart real rain lies, see `References`; 0 if not known.
        night: Whether the pair's folder says that it is night (True) or day (False); None if it does not say.
    """

    rainy: NDArray[np.uint8]
    clean: NDArray[np.uint8]
    description: Description
    references: Sequence[Reference]
    spacing: float
    night: bool | None


class Judge(Protocol):
    """Whoever says whether a pair is fit to learn from."""

    name: str

    def __call__(self, case: Case) -> Verdict:
        """Judge one pair; must not raise for an answer that does not come."""
        ...


@dataclass(frozen=True)
class Limits:
    """Between which values a pair is fit to learn from; docs/distillation.md shows what they were set on.

    Attributes:
        shift: Highest shift of the sides, pixels.
        agreement: Lowest correlation of their edges.
        level: Lowest mean difference, levels of 255.
        lineness: Lowest correlation of the difference with itself 4 pixels on.
        swap: Lowest detail that the rainy side has more, where rain is streaks, plus a twentieth of the skewness if
            that is positive: a veil takes detail away, but streaks brighten.
        drop_swap: The same where rain is drops, less a tenth of the skewness: drops take detail away and darken.
        sharpness: Lowest sharpness of a clean side ...
        lost: ... that lacks more than this of the rainy side's detail.
        blocking: Highest excess of the clean side's block grid.
        light: Highest ratio of the sides' brightness, either way.
        night_light: Highest brightness of a rainy side that its folder calls night, levels of 255.
        day_light: Lowest brightness of one that its folder calls day.
        spacings: Highest distance to the nearest reference found, in spacings of the references themselves.
    """

    shift: float = 1.5
    agreement: float = 0.15
    level: float = 0.8
    lineness: float = 0.08
    swap: float = -0.02
    drop_swap: float = -0.2
    sharpness: float = -0.7
    lost: float = 0.02
    blocking: float = 0.4
    light: float = 3.0
    night_light: float = 130.0
    day_light: float = 25.0
    spacings: float = 5.0


def find_fault(measures: PairMeasures, case: Case, limits: Limits) -> str:
    """Return the first fault of a pair, ``kind: measure``; empty if there is none."""
    m = measures
    ratio = (m.rainy_light + 1) / (m.clean_light + 1)
    nearest = min((reference.distance for reference in case.references), default=0.0)
    # Drops hide detail, streaks add it: where the difference is as round as drops, detail alone does not tell.
    if m.roundness < 0:
        swapped = m.detail + 0.05 * min(max(m.skew, 0.0), 3.0) < limits.swap
    else:
        swapped = m.detail - 0.1 * m.skew < limits.drop_swap
    faults = (
        ("no rain", m.level < limits.level, f"the sides differ by {m.level:.2f} levels"),
        ("wrong partner", m.agreement < limits.agreement, f"edges agree by {m.agreement:.2f}"),
        ("misaligned", m.shift > limits.shift, f"by {m.shift:.1f} pixels"),
        ("noise", m.lineness < limits.lineness, f"the difference agrees with itself by {m.lineness:.2f}"),
        ("blurred", m.sharpness < limits.sharpness and m.lost > limits.lost, f"sharpness {m.sharpness:.2f}"),
        ("compressed", m.blocking > limits.blocking, f"block grid {m.blocking:.2f}"),
        ("swapped", swapped, f"detail {m.detail:.2f}"),
        (
            "day and night",
            not 1 / limits.light < ratio < limits.light,
            f"one side {max(ratio, 1 / ratio):.1f} x as bright",
        ),
        ("day for night", case.night is True and m.rainy_light > limits.night_light, f"brightness {m.rainy_light:.0f}"),
        ("night for day", case.night is False and m.rainy_light < limits.day_light, f"brightness {m.rainy_light:.0f}"),
        ("unlike real rain", 0 < limits.spacings * case.spacing < nearest, f"nearest reference at {nearest:.2f}"),
    )
    return next((f"{kind}: {told}" for kind, is_fault, told in faults if is_fault), "")


class MeasuringJudge:
    """Judges one window of a pair by measurement; three of them look at three windows, so no single place decides.

    Args:
        window: 0 for the middle, 1 for the top left, 2 for the bottom right, each at most 256 pixels a side.
        limits: Limits that differ from `Limits`, by name.

    Raises:
        ValueError: If a limit is unknown or the window another.
    """

    def __init__(self, *, window: int, limits: dict[str, float]) -> None:
        if window not in range(len(_WINDOW_PLACES)):
            raise ValueError(f"distill: `judges.window` must be 0, 1 or 2, got {window!r}.")
        known = {entry.name for entry in dataclasses.fields(Limits)}
        if not known.issuperset(limits):
            unknown = ", ".join(sorted(set(limits) - known))
            raise ValueError(f"distill: `limits` must be out of {', '.join(sorted(known))}, got {unknown}.")
        self.name = f"measured {window}"
        self.place = _WINDOW_PLACES[window]
        self.limits = Limits(**limits)

    def __call__(self, case: Case) -> Verdict:
        """Judge one pair."""
        window = tuple(self._span(side) for side in case.rainy.shape[:2])
        fault = find_fault(measure_pair(case.rainy[window], case.clean[window]), case, self.limits)
        return Verdict(self.name, not fault, fault)

    def _span(self, side: int) -> slice:
        length = min(side, _WINDOW_SIDE)
        start = int((side - length) * self.place)
        return slice(start, start + length)


def make_judges(options: Sequence[dict[str, Any]], limits: dict[str, float]) -> list[Judge]:
    """Build the judges that the settings name.

    Raises:
        ValueError: If a kind or a key is unknown.
        ImportError: If an extra is missing.
    """
    judges: list[Judge] = []
    for entry in options:
        values = dict(entry)
        kind = values.pop("kind", None)
        try:
            if kind == "measured":
                judges.append(MeasuringJudge(limits=limits, **values))
            elif kind == "chat":
                from msgnn_plugin.curation.chat import ChatJudge

                judges.append(ChatJudge(**values))
            else:
                raise ValueError(f"distill: `judges.kind` must be measured or chat, got {kind!r}.")
        except TypeError as error:
            raise ValueError(
                f"distill: `judges` must hold what the kind {kind} takes, got {values}: {error}."
            ) from error
    return judges
