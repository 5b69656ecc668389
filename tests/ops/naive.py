"""Slow, plain loops to compare the ops with."""

import math

import numpy as np


def patches(image, patch_size, stride):
    """(C, H, W) float64 -> (rows, columns, C * l * l), zero padded, smaller half first."""
    channels, *sizes = image.shape
    grid = [max(math.ceil((size - patch_size) / stride) + 1, 1) for size in sizes]
    total = [(n - 1) * stride + patch_size - size for n, size in zip(grid, sizes)]
    padded = np.pad(image, [(0, 0)] + [(t // 2, t - t // 2) for t in total])
    out = np.zeros((*grid, channels * patch_size**2))
    for i in range(grid[0]):
        for j in range(grid[1]):
            y, x = i * stride, j * stride
            out[i, j] = padded[:, y : y + patch_size, x : x + patch_size].ravel()
    return out


def knn(query, database, patch_size, stride, num_neighbors, window=None, origin=None):
    """Float64 brute force for one image; ties to the smaller index, NaN last."""
    asking, answering = patches(query, patch_size, stride), patches(database, patch_size, stride)
    m_h, m_w, _ = asking.shape
    n_h, n_w, _ = answering.shape
    side = None if window is None else min(window, n_h, n_w)
    index = []
    for m in range(m_h * m_w):
        i, j = divmod(m, m_w)
        rows, columns = range(n_h), range(n_w)
        if side is not None:
            if origin is not None:
                top, left = origin[m]
            else:
                top = min(max((2 * i + 1) * n_h // (2 * m_h) - side // 2, 0), n_h - side)
                left = min(max((2 * j + 1) * n_w // (2 * m_w) - side // 2, 0), n_w - side)
            rows, columns = range(top, top + side), range(left, left + side)
        candidates = []
        for r in rows:
            for c in columns:
                distance = float(np.square(asking[i, j] - answering[r, c]).sum())
                candidates.append((math.inf if math.isnan(distance) else distance, r * n_w + c))
        index.append([place for _, place in sorted(candidates)[:num_neighbors]])
    return np.array(index)
