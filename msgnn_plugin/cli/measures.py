"""What `basicsr metrics` can measure, each under the name that tells its protocol."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from msgnn_plugin.data.image_file import Picture

NIQE = "niqe"


@dataclass(frozen=True)
class Measure:
    """One way to measure a picture.

    Attributes:
        name: Protocol, or metric and whose it is.
        about: What it takes, for the reader of a table.
        columns: Names of its values, the protocol's among them.
        needs_clean: Whether it compares with a clean picture.
        take: Takes derained and clean picture (None where there is none), returns the values.
    """

    name: str
    about: str
    columns: tuple[str, ...]
    needs_clean: bool
    take: Callable[[Picture, Picture | None], tuple[float, ...]]


def choose_measures(protocols: Sequence[str], metrics: Sequence[str]) -> list[Measure]:
    """Return the measures that the command line names, each once.

    Raises:
        ValueError: If a metric is unknown.
        ImportError: If a metric's package is missing.
        RuntimeError: If a metric's weights cannot be had.
    """
    measures = [_by_protocol(name) for name in dict.fromkeys(protocols)]
    return measures + [_niqe() if name == NIQE else _by_pyiqa(name) for name in dict.fromkeys(metrics)]


def _by_protocol(name: str) -> Measure:
    from msgnn_plugin.metrics import PROTOCOLS, measure_similarity

    def take(derained: Picture, clean: Picture | None) -> tuple[float, ...]:
        return measure_similarity(_values(derained), _values(clean), name)

    return Measure(name, PROTOCOLS[name].about, (f"psnr_{name}", f"ssim_{name}"), True, take)


def _niqe() -> Measure:
    from msgnn_plugin.adapters.basicsr.niqe import ABOUT, measure_niqe

    def take(derained: Picture, clean: Picture | None) -> tuple[float, ...]:
        return (measure_niqe(np.rint(derained.rgb * 255).astype(np.uint8)),)

    return Measure(f"{NIQE}_basicsr", ABOUT, (f"{NIQE}_basicsr",), False, take)


def _by_pyiqa(name: str) -> Measure:
    from msgnn_plugin.metrics.pyiqa_metric import PyiqaMetric

    metric = PyiqaMetric(name)

    def take(derained: Picture, clean: Picture | None) -> tuple[float, ...]:
        return (metric(derained.rgb, None if clean is None else clean.rgb),)

    return Measure(f"{name}_pyiqa", metric.about, (f"{name}_pyiqa",), metric.needs_clean, take)


def _values(picture: Picture) -> NDArray[np.unsignedinteger]:
    """Return the numbers of the file, (H, W, 3) RGB or (H, W) grey, uint8 or uint16; alpha is left out."""
    colours = picture.rgb[..., 0] if picture.grey else picture.rgb
    dtype = np.uint16 if picture.bit_depth == 16 else np.uint8
    return np.rint(colours * np.iinfo(dtype).max).astype(dtype)
