"""Search of similar patches: `patch_knn` against what one would otherwise take. Needs the extra [bench].

Every contender gets the same 17,120 patches of 288 values (321x481 pixels, 32 channels, 3x3, stride 3) and returns the
5 nearest of each. The first is the baseline of the ratios. All but ours get the unfolded patch matrix ready-made.
"""

from functools import partial

import faiss
import numpy as np
import skimage.data
import torch
from sklearn.neighbors import NearestNeighbors
from torch import Tensor

from benchmarks.harness import Contender, main
from msgnn_plugin.layers import GraphAggregator
from msgnn_plugin.ops import patch_knn
from msgnn_plugin.ops.grid import extract_patches

HEIGHT, WIDTH, CHANNELS, PATCH, STRIDE, NEIGHBORS, WINDOW = 321, 481, 32, 3, 3, 5, 30
# Queries of a block of the distance matrix, for those who make it: 64 MiB.
BLOCK = 1000


def feature_map(kind: str) -> Tensor:
    """Return a (1, 32, 321, 481) channels-last map: the graph's embedding of a photograph, or noise."""
    torch.manual_seed(0)
    if kind == "noise":
        features = torch.randn(1, CHANNELS, HEIGHT, WIDTH)
    else:
        photograph = torch.from_numpy(skimage.data.coffee()[:HEIGHT, :WIDTH].copy()).permute(2, 0, 1)[None] / 255
        with torch.no_grad():
            features = GraphAggregator().embed(photograph)
    return features.contiguous(memory_format=torch.channels_last)


def patches(kind: str) -> np.ndarray:
    """Return the patch matrix (17120, 288), float32."""
    return extract_patches(feature_map(kind), PATCH, STRIDE)[0].numpy()


def as_map(kind: str) -> tuple[Tensor]:
    """Return what our search takes."""
    return (feature_map(kind),)


def as_matrix(kind: str) -> tuple[np.ndarray]:
    """Return what the others take."""
    return (patches(kind),)


def search(features: Tensor, window: int | None) -> Tensor:
    """Search by `patch_knn`."""
    return patch_knn(features, features, patch_size=PATCH, stride=STRIDE, num_neighbors=NEIGHBORS, window_size=window)[
        0
    ]


def search_faiss(matrix: np.ndarray) -> np.ndarray:
    """Search by faiss' exact index."""
    faiss.omp_set_num_threads(torch.get_num_threads())
    index = faiss.IndexFlatL2(matrix.shape[1])
    index.add(matrix)
    return index.search(matrix, NEIGHBORS)[1]


def search_addmm(matrix: np.ndarray) -> Tensor:
    """Search by blocks of |d|^2 - 2 q.d, as most PyTorch code does."""
    database = torch.from_numpy(matrix)
    norm = database.square().sum(1)
    blocks = database.split(BLOCK)
    return torch.cat(
        [torch.addmm(norm, block, database.T, alpha=-2).topk(NEIGHBORS, largest=False).indices for block in blocks]
    )


def search_cdist(matrix: np.ndarray) -> Tensor:
    """Search by blocks of `torch.cdist`."""
    database = torch.from_numpy(matrix)
    blocks = database.split(BLOCK)
    return torch.cat([torch.cdist(block, database).topk(NEIGHBORS, largest=False).indices for block in blocks])


def search_sklearn(matrix: np.ndarray) -> np.ndarray:
    """Search by scikit-learn's brute force."""
    return NearestNeighbors(n_neighbors=NEIGHBORS, algorithm="brute").fit(matrix).kneighbors(return_distance=False)


def contenders(kind: str) -> list[Contender]:
    """Return the peers, faiss first, and ours."""
    others = {
        "faiss IndexFlatL2": search_faiss,
        "addmm + topk": search_addmm,
        "cdist + topk": search_cdist,
        "scikit-learn brute": search_sklearn,
    }
    ours = {"patch_knn, everything": None, f"patch_knn, window {WINDOW}": WINDOW}
    return [Contender(name, partial(as_matrix, kind), run) for name, run in others.items()] + [
        Contender(name, partial(as_map, kind), partial(search, window=window)) for name, window in ours.items()
    ]


if __name__ == "__main__":
    shapes = {
        "map": [1, CHANNELS, HEIGHT, WIDTH],
        "patch_size": PATCH,
        "stride": STRIDE,
        "num_neighbors": NEIGHBORS,
        "window_size": WINDOW,
    }
    main("knn", {f"{kind} features": contenders(kind) for kind in ("photograph", "noise")}, shapes, rounds=5)
