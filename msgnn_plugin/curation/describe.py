"""What retrieval compares of a picture: a caption, an embedding of it, and a feature."""

from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from msgnn_plugin.data.rain_description import ORIENTATIONS, WIDTHS, describe_rain

# (words, upper limit) by mean brightness, by the contrast that `describe_rain` gives, by mean width in pixels, by the
# mean direction in degrees from the vertical, by how far directions agree. The limits split the real pictures at hand
# into about equal parts, except the night's.
_LIGHTS = (("dark night", 45), ("dim", 90), ("bright", 256))
_STRENGTHS = (("hardly any", 0.3), ("light", 0.4), ("moderate", 0.5), ("heavy", 0.62), ("very heavy", np.inf))
_WIDTHS = (("very thin", 3.0), ("thin", 3.7), ("medium", 4.4), ("wide", np.inf))
_LEANS = (
    ("far to the left", -30),
    ("to the left", -7),
    ("straight", 7),
    ("to the right", 30),
    ("far to the right", 91),
)
_ORDERS = (("in all directions", 0.25), ("in several directions", 0.5), ("in one direction", np.inf))
_TABLES = (_LIGHTS, _STRENGTHS, _WIDTHS, _LEANS, _ORDERS)


@dataclass(frozen=True)
class Description:
    """What is known of one picture.

    Attributes:
        caption: One sentence.
        text: Embedding of the caption, shape (D,), float32.
        feature: Visual feature, shape (F,), float32.
    """

    caption: str
    text: NDArray[np.float32]
    feature: NDArray[np.float32]


class Describer(Protocol):
    """Whatever describes pictures."""

    def __call__(self, images: list[NDArray[np.uint8]]) -> list[Description]:
        """Describe RGB pictures, each (H, W, 3), uint8."""
        ...


class MeasuredDescriber:
    """Describes by measurement alone and downloads nothing; ours.

    The feature is `describe_rain`. The caption puts five of its measures into words, and its embedding has one entry a
    word group on offer, 1 where it is used: so the distance of two captions counts the groups in which they differ.
    """

    def __call__(self, images: list[NDArray[np.uint8]]) -> list[Description]:
        """Describe RGB pictures, each (H, W, 3), uint8."""
        return [self._describe(image) for image in images]

    def _describe(self, image: NDArray[np.uint8]) -> Description:
        feature = describe_rain(image)
        directions, widths = np.square(feature[:ORIENTATIONS]), np.square(feature[ORIENTATIONS:-1])
        turned = (directions * np.exp(1j * np.radians(10.0 * np.arange(ORIENTATIONS)))).sum()
        values = (
            float(image.mean()),
            float(feature[-1]),
            float(widths @ np.array(WIDTHS)),
            float(np.degrees(np.angle(turned)) / 2),
            float(np.abs(turned)),
        )
        places = [
            next(i for i, (_, limit) in enumerate(table) if value < limit)
            for table, value in zip(_TABLES, values, strict=True)
        ]
        light, strength, width, lean, order = (table[i][0] for table, i in zip(_TABLES, places, strict=True))
        caption = f"a {light} photograph with {strength} rain, {width} streaks falling {lean}, {order}"
        text = np.concatenate(
            [np.eye(len(table), dtype=np.float32)[i] for table, i in zip(_TABLES, places, strict=True)]
        )
        return Description(caption, text, feature)


@lru_cache(maxsize=1)
def _pretrained(options: tuple[tuple[str, Any], ...]) -> Describer:
    from msgnn_plugin.curation.pretrained import PretrainedDescriber

    return PretrainedDescriber(**dict(options))


def make_describer(options: dict[str, Any]) -> Describer:
    """Build the describer that the settings name; weights are loaded once a process.

    Raises:
        ValueError: If the kind is unknown.
        ImportError: If an extra is missing.
    """
    options = dict(options)
    kind = options.pop("kind", None)
    if kind == "measured" and not options:
        return MeasuredDescriber()
    if kind == "pretrained":
        return _pretrained(tuple(sorted(options.items())))
    raise ValueError(
        f"distill: `describer.kind` must be measured, without more, or pretrained, got {kind!r} with {options}."
    )
