"""What the page of `basicsr demo` computes, each answer from the user's own files alone."""

import threading
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import torch
from matplotlib.backends.backend_agg import FigureCanvasAgg
from numpy.typing import NDArray

from msgnn_plugin.archs import MSGNNArch, from_state_dict, load_weights
from msgnn_plugin.archs.msgnn import Neighbors
from msgnn_plugin.cli.graph_figure import draw_neighbors
from msgnn_plugin.data.exemplar_folder import ExemplarFolder
from msgnn_plugin.data.image_file import Picture, decode_picture, encode_picture, to_steps
from msgnn_plugin.restoration import Restorer, choose_device
from msgnn_plugin.tiling import ExactlyTiled, Tiling

# Choices of the exemplar, by what the page's radio button returns.
BANK, FOLDER, SELF, OWN = "bank", "folder", "self", "own"
_LABELS = {
    BANK: "The stored picture with the most similar rain",
    FOLDER: "This server's picture with the most similar rain",
    SELF: "None: the picture itself",
    OWN: "A picture of mine",
}
# Largest side in pixels of what the page shows; what it offers to download has every pixel.
SHOWN_SIDE = 1600
# Tiles for networks whose memory nobody can estimate: a picture too large for it would end the server for everyone.
UNKNOWN_TILE = 512


@dataclass(frozen=True)
class Request:
    """What a user asks for.

    Attributes:
        picture: The uploaded file; None if there is none yet.
        model: One of `DemoModels.names`.
        exemplar: One of the choices that `DemoModels.exemplars` offers for the model; None where it offers none.
        own_exemplar: The file uploaded as exemplar, for the choice `OWN`.
    """

    picture: str | None
    model: str
    exemplar: str | None = None
    own_exemplar: str | None = None


@dataclass(frozen=True)
class Derained:
    """A result.

    Attributes:
        shown: The rainy and the derained picture as the page shows them, uint8, of one shape (h, w, 3).
        png: The content of the result's file, in the picture's full size and depth.
        name: What to call that file.
    """

    shown: tuple[NDArray[np.uint8], NDArray[np.uint8]]
    png: bytes
    name: str


class DemoModels:
    """The networks that a page offers, loaded once, and what is computed with them.

    Nothing of a request is kept; a method may be called by several threads at a time.

    Args:
        weights: Weights files.
        device: "auto", "cpu" or "cuda".
        exemplars: Folder of rainy pictures to choose exemplars from; None offers none.
        jobs: How many requests may be worked on at a time, among which cores and memory are shared.
        max_pixels: How many pixels an uploaded picture may have.

    Raises:
        ValueError: If there are no weights of ours in a file, or no picture in the folder.
        OSError: If a file cannot be read.
    """

    def __init__(
        self,
        weights: Sequence[str],
        *,
        device: str = "auto",
        exemplars: str | None = None,
        jobs: int = 1,
        max_pixels: int,
    ) -> None:
        self.device = choose_device(device)
        self.max_pixels = max_pixels
        self._folder = None if exemplars is None else ExemplarFolder(exemplars)
        self._jobs = jobs
        self._threads = max(torch.get_num_threads() // jobs, 1)
        self._drawing = threading.Lock()  # matplotlib's settings are the process'
        self._restorers: dict[str, Restorer] = {}
        for path in dict.fromkeys(weights):
            network = from_state_dict(load_weights(path))
            restorer = Restorer(network, self.device, tiling=self._tiling_for(network))
            self._restorers[_claim_name(Path(path).name, self._restorers)] = restorer

    @property
    def names(self) -> list[str]:
        """The models' names: those of the files, without folders."""
        return list(self._restorers)

    def exemplars(self, model: str) -> list[tuple[str, str]]:
        """Return the choices of exemplar as (label, value); none for a network that takes no exemplar."""
        restorer = self._restorers[model]
        if not getattr(restorer.network, "use_exemplar", False):
            return []
        offered = {BANK: restorer.bank is not None, FOLDER: self._folder is not None, SELF: True, OWN: True}
        return [(_LABELS[choice], choice) for choice, is_offered in offered.items() if is_offered]

    def has_graph(self, model: str) -> bool:
        """Return whether there are neighbours to show."""
        return bool(getattr(self._restorers[model].network, "graphs", None))

    def show(self, path: str) -> NDArray[np.uint8]:
        """Return an uploaded picture as the page shows it, uint8, (h, w, 3).

        Raises:
            ValueError: If it is no picture, or too large a one; this and the other errors name files without folders.
        """
        return _shrink(self._read(path).rgb)

    def derain(self, request: Request) -> Derained:
        """Take the rain out of a picture.

        Raises:
            ValueError: If a file is no picture, too large or missing, or the network gives no numbers.
            MemoryError: If the memory does not suffice.
        """
        restorer, picture = self._prepare(request)
        name = f"{Path(request.picture).stem}_derained.png"
        png = encode_picture(restorer(picture), picture, "nearest", name)
        # What is shown is what is downloaded.
        return Derained((_shrink(picture.rgb), _shrink(decode_picture(png, name).rgb)), png, name)

    def search(self, request: Request) -> dict[str, Neighbors]:
        """Return the neighbours of all patches, by `Restorer.neighbors`.

        Raises:
            ValueError: As `derain`, and if the network has no graph.
            MemoryError: If the memory does not suffice.
        """
        restorer, picture = self._prepare(request)
        return restorer.neighbors(picture.rgb)

    def draw(self, request: Request, found: dict[str, Neighbors], at: tuple[int, int]) -> NDArray[np.uint8]:
        """Draw the neighbours of the patch at a place of the picture that the page shows.

        Args:
            request: What `search` was asked.
            found: What it found.
            at: The pixel (x, y) of the shown picture.

        Returns:
            The figure of `basicsr graph`, RGB, uint8, (h, w, 3).

        Raises:
            ValueError: If the file is gone.
        """
        rgb = self._read(request.picture).rgb
        height, width = rgb.shape[:2]
        place = _full_place(at[0], width, height), _full_place(at[1], height, width)
        network, name = self._restorers[request.model].network, Path(request.picture).name
        with self._drawing:
            canvas = FigureCanvasAgg(draw_neighbors(network, rgb, found, place, name))
            canvas.draw()
            return np.asarray(canvas.buffer_rgba())[..., :3].copy()

    def _prepare(self, request: Request) -> tuple[Restorer, Picture]:
        if request.picture is None:
            raise ValueError("there is no picture yet; drop one into the first box.")
        if self._jobs > 1:
            torch.set_num_threads(self._threads)  # of this thread
        picture = self._read(request.picture)
        restorer = self._restorers[request.model]
        if request.exemplar in (None, BANK):
            return restorer, picture
        if request.exemplar == OWN:
            if request.own_exemplar is None:
                raise ValueError("there is no exemplar yet; drop one into its box, or choose another kind.")
            exemplar = self._read(request.own_exemplar).rgb
        else:
            exemplar = self._from_folder(picture) if request.exemplar == FOLDER else "self"
        return Restorer(restorer.network, self.device, exemplar, restorer.tiling), picture

    def _from_folder(self, picture: Picture) -> NDArray[np.float32]:
        try:
            exemplar = self._folder.nearest(torch.from_numpy(picture.rgb).permute(2, 0, 1)[None])
        except (OSError, ValueError) as error:  # which name the server's folder
            raise ValueError(
                "the exemplar among this server's pictures cannot be read any more; choose another kind."
            ) from error
        return exemplar[0].permute(1, 2, 0).numpy()

    def _read(self, path: str) -> Picture:
        name = Path(path).name
        try:
            data = Path(path).read_bytes()
        except OSError as error:
            raise ValueError(f"{name}: the upload is not kept any more; drop the picture again.") from error
        return decode_picture(data, name, self.max_pixels)

    def _tiling_for(self, network: torch.nn.Module) -> Tiling:
        tiling = Tiling(tile="auto" if isinstance(network, (MSGNNArch, ExactlyTiled)) else UNKNOWN_TILE)
        return tiling if self._jobs == 1 else tiling.shared(self._jobs, self.device)


def _claim_name(name: str, taken: dict[str, Restorer]) -> str:
    number = 1
    claimed = name
    while claimed in taken:
        number += 1
        claimed = f"{name} ({number})"
    return claimed


def _shrink(rgb: NDArray[np.float32]) -> NDArray[np.uint8]:
    height, width = rgb.shape[:2]
    if max(height, width) > SHOWN_SIDE:
        size = _shown_side(width, height), _shown_side(height, width)
        rgb = cv2.resize(rgb, size, interpolation=cv2.INTER_AREA)
    return to_steps(rgb, np.uint8, "nearest")


def _shown_side(side: int, other: int) -> int:
    """Return the pixels that a side of a picture has on the page."""
    return max(round(side * min(SHOWN_SIDE / max(side, other), 1)), 1)


def _full_place(place: int, side: int, other: int) -> int:
    """Return the pixel of a picture under the middle of a pixel of the shown one, along one side."""
    return min(max(int((place + 0.5) * side / _shown_side(side, other)), 0), side - 1)
