"""Real rain to compare with: a database of pictures without a clean side, searched on three nested levels."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import faiss
import numpy as np
from numpy.typing import NDArray
from skimage.metrics import structural_similarity

from msgnn_plugin.curation.describe import Description
from msgnn_plugin.data.atomic import atomic_path, write_bytes_atomic

# Above this many references an inverted file takes the place of comparing with each.
FLAT_LIMIT = 1_000_000
# Side at which structures are compared; the paper does not say how it resizes.
SSIM_SIDE = 128
_TRAINED_PER_LIST = 39
_PROBED_SHARE = 16
# References whose nearest other one is looked for, to learn how far apart real rain lies.
_SPACED = 2000
_NAMES, _INDEX, _SPACING = "names.json", "text.faiss", "spacing.json"
_ARRAYS = ("text", "feature", "structure")


@dataclass(frozen=True)
class Reference:
    """A retrieved picture.

    Attributes:
        path: Where it lies.
        distance: Euclidean distance of the features.
        similarity: SSIM, -1 to 1.
    """

    path: str
    distance: float
    similarity: float


def as_structure(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return what SSIM compares of an RGB picture (H, W, 3): grey, 128 x 128; the sides' ratio is given up."""
    grey = cv2.cvtColor(np.ascontiguousarray(image), cv2.COLOR_RGB2GRAY)
    return cv2.resize(grey, (SSIM_SIDE, SSIM_SIDE), interpolation=cv2.INTER_AREA)


def make_index(vectors: NDArray[np.float32], flat_limit: int = FLAT_LIMIT) -> faiss.Index:
    """Index vectors for search by Euclidean distance.

    Args:
        vectors: Shape (N, D), float32.
        flat_limit: Above this N the index is an inverted file (IVF) of 4 sqrt(N) lists, of which a sixteenth is
            searched; up to it the search is exact.

    Returns:
        The index.
    """
    count, size = vectors.shape
    if count <= flat_limit:
        index = faiss.IndexFlatL2(size)
    else:
        lists = max(int(4 * count**0.5), 1)
        index = faiss.IndexIVFFlat(faiss.IndexFlatL2(size), size, lists)
        taken = np.random.default_rng(0).choice(count, min(count, lists * _TRAINED_PER_LIST), replace=False)
        index.train(vectors[np.sort(taken)])
        index.nprobe = max(lists // _PROBED_SHARE, 1)
    for start in range(0, count, 65536):
        index.add(vectors[start : start + 65536])
    return index


def write_references(
    folder: Path,
    paths: Sequence[str],
    text: NDArray[np.float32],
    feature: NDArray[np.float32],
    structure: NDArray[np.uint8],
    flat_limit: int = FLAT_LIMIT,
) -> None:
    """Write a database; its list of names comes last, so that a folder with one is whole.

    Args:
        folder: Where to.
        paths: Where the pictures lie, N of them.
        text: Embeddings of the captions, (N, D).
        feature: Features, (N, F).
        structure: What `as_structure` gives, (N, 128, 128).
        flat_limit: See `make_index`.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for name, values in zip(_ARRAYS, (text, feature, structure), strict=True):
        with atomic_path(folder / f"{name}.npy") as temporary:
            np.save(temporary, values)
    with atomic_path(folder / _INDEX) as temporary:
        faiss.write_index(make_index(text, flat_limit), str(temporary))
    write_bytes_atomic(folder / _SPACING, json.dumps(_spacing(feature)).encode())
    write_bytes_atomic(folder / _NAMES, json.dumps(list(paths)).encode())


def is_written(folder: Path) -> bool:
    """Whether a whole database lies there."""
    return (folder / _NAMES).is_file()


class References:
    """A database that `write_references` wrote; arrays stay on the disk but for what is looked at.

    Args:
        folder: Where it lies.
        text_nearest: K1, how many are kept by captions.
        feature_nearest: K2, how many of those by features.
        image_nearest: K3, how many of those by structure.

    Attributes:
        spacing: Median distance of a reference's feature to the nearest other one's; 0 where there is one alone.
    """

    def __init__(self, folder: Path, *, text_nearest: int, feature_nearest: int, image_nearest: int) -> None:
        self.nearest = (text_nearest, feature_nearest, image_nearest)
        self.names = json.loads((folder / _NAMES).read_bytes())
        self.feature, self.structure = (np.load(folder / f"{name}.npy", mmap_mode="r") for name in _ARRAYS[1:])
        self.index = faiss.read_index(str(folder / _INDEX))
        self.spacing = float(json.loads((folder / _SPACING).read_bytes()))

    def search(self, description: Description, image: NDArray[np.uint8]) -> list[Reference]:
        """Find real pictures like this one: Eq. 1 to 3 of UniRain, each level among what the one before left.

        Args:
            description: What is known of the picture.
            image: RGB, shape (H, W, 3), uint8.

        Returns:
            min(K3, N) references, most similar structure first; equal ones by their place in the database.
        """
        by_text, by_feature, by_structure = (min(count, len(self.names)) for count in self.nearest)
        # One query at a time: for many, faiss takes another path through BLAS, whose last digits differ.
        found = self.index.search(np.ascontiguousarray(description.text[None]), by_text)[1][0]
        # In the database's order, so that ties go to the smaller number on each level that follows.
        found = np.sort(found[found >= 0])
        features = np.asarray(self.feature[found], np.float64)
        size = np.linalg.norm(features, axis=1) * np.linalg.norm(description.feature) + 1e-12
        found = np.sort(found[np.argsort(-(features @ description.feature) / size, kind="stable")[:by_feature]])
        own = as_structure(image)
        similar = [_ssim(own, self.structure[place]) for place in found]
        order = np.argsort(-np.array(similar), kind="stable")[:by_structure]
        distances = np.linalg.norm(self.feature[found] - description.feature, axis=1)
        return [Reference(self.names[found[i]], float(distances[i]), float(similar[i])) for i in order]


def _ssim(one: NDArray[np.uint8], two: NDArray[np.uint8]) -> float:
    return float(
        structural_similarity(one, two, gaussian_weights=True, sigma=1.5, use_sample_covariance=False, data_range=255)
    )


def _spacing(feature: NDArray[np.float32]) -> float:
    """Return the median distance to the nearest other reference."""
    if len(feature) < 2:
        return 0.0
    rows = np.unique(np.linspace(0, len(feature) - 1, _SPACED).astype(int))
    index = faiss.IndexFlatL2(feature.shape[1])
    index.add(np.ascontiguousarray(feature))
    squares = index.search(np.ascontiguousarray(feature[rows]), 2)[0][:, 1]
    return float(np.median(np.sqrt(np.maximum(squares, 0))))
