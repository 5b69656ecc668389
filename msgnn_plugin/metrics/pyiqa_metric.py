"""LPIPS, MUSIQ and the other metrics of pyiqa (IQA-PyTorch), where it is installed: the extra ``[iqa]``."""

from difflib import get_close_matches

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

# pyiqa counts these among its metrics, but they compare folders.
_OF_SETS = ("fid", "inception_score")


class PyiqaMetric:
    """One metric of pyiqa on one picture, with pyiqa's own settings, on the GPU where there is one.

    pyiqa is under the PolyForm Noncommercial and S-Lab licences: not for commercial use. It fetches a metric's weights
    at the first use.

    Args:
        name: Its name in pyiqa, such as "lpips" or "musiq".

    Attributes:
        needs_clean: Whether it compares with a clean picture.
        about: Whose it is, which version, and which way is better.

    Raises:
        ImportError: If pyiqa is not installed.
        ValueError: If pyiqa has no such metric, or it measures sets of pictures.
        RuntimeError: If the metric cannot be built, for example without its weights.
    """

    def __init__(self, name: str) -> None:
        try:
            import pyiqa
        except ImportError as error:
            raise ImportError(
                f"metrics: {name!r} must find pyiqa, got none ({error}); niqe is the metric that needs none, else "
                'pip install "msgnn_plugin[iqa]", whose licences (PolyForm Noncommercial, S-Lab) forbid commercial use.'
            ) from None
        known = [model for model in pyiqa.list_models() if not any(word in model for word in _OF_SETS)]
        if name not in known:
            alike = get_close_matches(name.lower(), known)
            remedy = f"did you mean {' or '.join(alike)}?" if alike else "pyiqa.list_models() names them."
            raise ValueError(
                f"metrics: `--metric` must be niqe or one of pyiqa's {len(known)} for single pictures, got {name!r}; "
                + remedy
            )
        try:
            self._metric = pyiqa.create_metric(name)
        except Exception as error:  # Downloads, archives and networks raise nearly any type.
            raise RuntimeError(
                f"metrics: pyiqa must be able to build {name!r}, whose weights it fetches at first use, got: {error}"
            ) from error
        self.name = name
        self.needs_clean = self._metric.metric_mode == "FR"
        better = "lower" if self._metric.lower_better else "higher"
        self.about = f"pyiqa {pyiqa.__version__}, its own settings; {better} is better; not for commercial use"

    def __call__(self, derained: NDArray[np.float32], clean: NDArray[np.float32] | None = None) -> float:
        """Measure one picture.

        Args:
            derained: RGB picture, (H, W, 3), float32 of range [0, 1].
            clean: The clean one, same shape, where the metric needs it.

        Raises:
            RuntimeError: If pyiqa cannot measure it.
        """
        pictures = (derained, clean) if self.needs_clean else (derained,)
        try:
            return float(self._metric(*map(_to_tensor, pictures)))
        except Exception as error:  # pyiqa asserts where others raise.
            raise RuntimeError(f"metrics: {self.name!r} must be able to measure the picture, got: {error}") from error


def _to_tensor(picture: NDArray[np.float32]) -> Tensor:
    """Return a picture as (1, 3, H, W)."""
    return torch.from_numpy(np.ascontiguousarray(picture.transpose(2, 0, 1)))[None]
