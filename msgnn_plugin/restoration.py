"""Clean single pictures with a deraining network."""

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Literal, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from msgnn_plugin.archs.msgnn import Neighbors
from msgnn_plugin.data.exemplar_bank import ExemplarBank
from msgnn_plugin.data.exemplar_folder import ExemplarFolder
from msgnn_plugin.data.image_file import Picture
from msgnn_plugin.tiling import Tiling, derain

T = TypeVar("T")
# The dimensions to mirror for each form; the first leaves a picture as it is.
_FORMS = ((), (3,), (2,), (2, 3))


def choose_device(name: str) -> torch.device:
    """Return the device that `auto`, `cpu` or `cuda` means here.

    Raises:
        RuntimeError: If `cuda` is asked for and PyTorch finds no GPU.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if name == "cuda" and not torch.cuda.is_available():
        raise RuntimeError(
            "restore: `--device cuda` needs a GPU that PyTorch can use, got none. Use `--device cpu` or `auto`."
        )
    return torch.device(name)


class Restorer:
    """A network made ready for single pictures.

    Args:
        network: Takes rainy images (1, 3, H, W), RGB in [0, 1], and an exemplar of the same form or None.
        device: Where it runs.
        exemplar: Another rainy picture, RGB in [0, 1], shape (h, w, 3), a folder of them, or "self" for the picture
            itself. None takes from the bank in the network's weights the one whose rain is most alike, or where that
            is empty the picture.
        tiling: How large pictures are cut into tiles; None takes every picture whole where the memory suffices.
        dtype: What it computes in; pictures go in and out as float32.
        self_ensemble: Whether each result is the mean over the picture's four mirrored forms, the exemplar mirrored
            alike, for four times the work: the geometric self-ensemble (Lim et al., "Enhanced Deep Residual Networks
            for Single Image Super-Resolution", CVPR Workshops 2017, section 3.4) without the forms turned by 90
            degrees, for no network learns rain that lies.
    """

    def __init__(
        self,
        network: nn.Module,
        device: torch.device,
        exemplar: NDArray[np.float32] | ExemplarFolder | Literal["self"] | None = None,
        tiling: Tiling | None = None,
        *,
        dtype: torch.dtype = torch.float32,
        self_ensemble: bool = False,
    ) -> None:
        self.device = device
        self.dtype = dtype
        self.forms = _FORMS if self_ensemble else _FORMS[:1]
        self.tiling = tiling or Tiling()
        self.tiling.check_network(network)
        self.bank = ExemplarBank.of(network) if exemplar is None else None
        self.network = network.to(device, dtype, memory_format=torch.channels_last).eval().requires_grad_(False)
        self.exemplar = self._to_tensor(exemplar) if isinstance(exemplar, np.ndarray) else exemplar

    @torch.inference_mode()
    def __call__(self, picture: Picture, source: Path | None = None) -> NDArray[np.float32]:
        """Return the derained picture, RGB in [0, 1], shape (H, W, 3).

        Args:
            picture: The rainy picture.
            source: Its file, which a folder of exemplars never gives as its own.

        Raises:
            ValueError: If the network gives values that are no numbers.
            MemoryError: If the memory, or the GPU's, does not suffice: by estimate before the run, or amid it.
        """

        def run() -> Tensor:
            rainy = self._to_tensor(picture.rgb)
            return self._derain(rainy, self._exemplar_of(rainy, source))

        derained = self._within_memory(run, picture.rgb, "use smaller tiles (`--tile`)")
        if not torch.isfinite(derained).all():
            raise ValueError("the network gave values that are no numbers; its weights may be damaged")
        return derained[0].clamp(0, 1).permute(1, 2, 0).cpu().numpy()

    @torch.inference_mode()
    def neighbors(self, rgb: NDArray[np.float32], source: Path | None = None) -> dict[str, Neighbors]:
        """Return what each graph of the network finds for every patch of a picture, with the exemplar of a restoration.

        Args:
            rgb: The rainy picture, RGB in [0, 1], shape (H, W, 3).
            source: Its file, which a folder of exemplars never gives as its own.

        Returns:
            As `MSGNNArch.neighbors`, on the CPU.

        Raises:
            ValueError: If the network has no graph.
            MemoryError: If the memory does not suffice for the whole picture, for which there are no tiles here.
        """
        if not getattr(self.network, "graphs", None):
            raise ValueError(f"{type(self.network).__name__} of these weights has no graph, so there are no neighbours")
        remedy = "take a smaller picture to see neighbours"

        def run() -> dict[str, Neighbors]:
            rainy = self._to_tensor(rgb)
            exemplar = self._exemplar_of(rainy, source)
            if Tiling(tile="auto", memory=self.tiling.memory).settle(self.network, rainy, exemplar) is not None:
                height, width = rgb.shape[:2]
                raise MemoryError(f"{width} x {height} pixels need more memory than is available; {remedy}")
            inputs = [None if image is None else self._mirror(image, ()) for image in (rainy, exemplar)]
            return {
                name: Neighbors(each.image.float().cpu(), each.index.cpu(), each.weight.float().cpu())
                for name, each in self.network.neighbors(*inputs).items()
            }

        return self._within_memory(run, rgb, remedy)

    def for_video(self, first: NDArray[np.float32]) -> "Restorer":
        """Return a restorer for a whole video: with the exemplar of its first frame, so that it does not change.

        Args:
            first: That frame, RGB in [0, 1], shape (H, W, 3).
        """
        if self.bank is None and not isinstance(self.exemplar, ExemplarFolder):
            return self
        fixed = copy.copy(self)
        fixed.exemplar, fixed.bank = self._exemplar_of(self._to_tensor(first), None), None
        return fixed

    def _within_memory(self, run: Callable[[], T], rgb: NDArray[np.float32], remedy: str) -> T:
        try:
            return run()
        except RuntimeError as error:
            if not _is_out_of_memory(error):
                raise
        # Outside of the block, for what the traceback still holds is free by now.
        if self.device.type == "cuda":
            torch.cuda.empty_cache()
        height, width = rgb.shape[:2]
        raise MemoryError(
            f"the memory of the {self.device.type} does not suffice for {width} x {height} pixels; {remedy}"
        )

    def _derain(self, rainy: Tensor, exemplar: Tensor | None) -> Tensor:
        total = 0
        for mirrored in self.forms:
            inputs = [None if image is None else self._mirror(image, mirrored) for image in (rainy, exemplar)]
            total = total + derain(self.network, *inputs, self.tiling).float().flip(mirrored)
        return total / len(self.forms)

    def _exemplar_of(self, rainy: Tensor, source: Path | None) -> Tensor | None:
        if self.bank is not None:
            return self.bank.nearest(rainy)
        if isinstance(self.exemplar, ExemplarFolder):
            return self.exemplar.nearest(rainy, source)
        return rainy if isinstance(self.exemplar, str) else self.exemplar

    def _mirror(self, image: Tensor, dimensions: tuple[int, ...]) -> Tensor:
        return image.flip(dimensions).to(self.dtype).contiguous(memory_format=torch.channels_last)

    def _to_tensor(self, rgb: NDArray[np.float32]) -> Tensor:
        image = torch.from_numpy(rgb).permute(2, 0, 1)[None]
        return image.to(self.device).contiguous(memory_format=torch.channels_last)


def _is_out_of_memory(error: RuntimeError) -> bool:
    # The CPU's allocator raises a plain RuntimeError; its words are all there is to know it by.
    words = ("can't allocate memory", "not enough memory", "std::bad_alloc")
    return isinstance(error, torch.OutOfMemoryError) or any(word in str(error) for word in words)
