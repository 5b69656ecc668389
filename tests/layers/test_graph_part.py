"""A part of the graph's result must be that part of the whole result; float64 leaves no room for another neighbour."""

import pytest
import torch
from torch import nn

from msgnn_plugin.layers import GraphAggregator
from msgnn_plugin.layers.graph_part import aggregate_part


def image(*shape, seed=0):
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


REGIONS = [((0, 40), (0, 37)), ((12, 31), (24, 37)), ((5, 6), (36, 37)), ((0, 1), (0, 37)), ((39, 40), (7, 20))]
SETTINGS = [
    {"variant": "paper"},
    {"variant": "paper", "stride": 1, "window_size": 5},
    {"variant": "paper", "stride": 5, "window_size": 4},
    {"variant": "paper", "stride": 2, "patch_size": 4, "window_size": None},
    {"variant": "official", "scale": 2, "window_size": 6},
    {"variant": "official", "scale": 1, "patch_size": 2, "stride": 2, "window_size": 7},
    {"variant": "official", "window_size": None},
]


@pytest.mark.parametrize("settings", SETTINGS, ids=str)
@pytest.mark.parametrize("database", [None, (20, 19), (50, 33), (2, 45), (1, 1)], ids=str)
def test_a_part_is_the_part_of_the_whole(settings, database):
    graph = GraphAggregator(num_feat=4, num_neighbors=3, **settings).double()
    query = image(2, 3, 40, 37)
    database = query if database is None else image(2, 3, *database, seed=1)
    branch = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.ReLU(), nn.Conv2d(4, 4, 5, padding=2)).double()
    with torch.no_grad():
        for features in (None, branch):
            whole = graph(query, database, None if features is None else features(database))
            for (top, bottom), (left, right) in REGIONS:
                part = aggregate_part(graph, query, database, ((top, bottom), (left, right)), features)
                torch.testing.assert_close(part, whole[:, :, top:bottom, left:right], rtol=0, atol=1e-12)


@pytest.mark.parametrize("size", [(1, 30), (3, 3), (6, 50)])
def test_images_below_the_smallest_side(size):
    graph = GraphAggregator(num_feat=4, window_size=3).double()
    query = image(1, 3, *size)
    top, left = size[0] // 2, size[1] // 3
    with torch.no_grad():
        part = aggregate_part(graph, query, query, ((top, size[0]), (left, size[1])))
        torch.testing.assert_close(part, graph(query)[:, :, top:, left:], rtol=0, atol=1e-12)
