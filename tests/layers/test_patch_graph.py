"""GraphAggregator against the paper's equations written out, and at its edges."""

import pytest
import torch
import torch.nn.functional as F

from msgnn_plugin.layers import GraphAggregator
from msgnn_plugin.ops.grid import coverage, extract_patches, sum_patches


def image(*shape, seed=0):
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed))


def test_paper_variant_is_its_equations():
    graph = GraphAggregator(num_feat=4, num_neighbors=3, window_size=None).double()
    query, database = image(1, 3, 12, 15).double(), image(1, 3, 9, 18, seed=1).double()
    with torch.no_grad():
        output = graph(query, database)
        # Sizes are multiples of the patch, so plain unfolding needs no padding.
        asking, answering = (F.unfold(graph.embed(x), 3, stride=3)[0].T for x in (query, database))
        expected = torch.empty_like(asking)
        for q, patch in enumerate(asking):
            nearest = (answering - patch).square().sum(1).argsort()[:3]
            difference = (patch - answering[nearest]).view(3, 4, 3, 3)
            alpha = graph.attention(graph.difference(difference)).flatten().exp()
            expected[q] = (alpha[:, None] * answering[nearest]).sum(0) / alpha.sum()
    torch.testing.assert_close(output, F.fold(expected.T[None], (12, 15), 3, stride=3))


def test_none_means_the_query_image_and_its_embedding():
    graph = GraphAggregator(num_feat=4, stride=1, num_neighbors=2, window_size=5)
    query = image(2, 3, 11, 8)
    with torch.no_grad():
        assert torch.equal(graph(query), graph(query, query.clone(), graph.embed(query)))


@pytest.mark.parametrize("size", [(1, 1), (5, 5), (2, 50), (7, 7), (30, 4)])
def test_a_patch_is_its_own_nearest_neighbour_at_any_size(size):
    index, distance = GraphAggregator(num_feat=4).search(image(1, 3, *size))
    assert torch.equal(index[0, :, 0], torch.arange(index.shape[1])) or (distance[..., 0] == 0).all()
    assert (distance[..., 0] == 0).all()


@pytest.mark.parametrize("variant", ["paper", "official"])
def test_only_the_paper_variant_learns_to_search(variant):
    graph = GraphAggregator(num_feat=4, variant=variant)
    graph(image(1, 3, 24, 24), image(1, 3, 24, 24, seed=1), torch.ones(1, 4, 24, 24)).square().sum().backward()
    embeddings = [name for name, p in graph.named_parameters() if name.startswith("embed") and p.grad is not None]
    assert bool(embeddings) is (variant == "paper")


@pytest.mark.parametrize("variant", ["paper", "official"])
def test_fused_embeddings_find_the_neighbours_of_float64(variant):
    torch.manual_seed(0)
    graph = GraphAggregator(num_feat=32, variant=variant)
    query, database = image(1, 3, 60, 75), image(1, 3, 60, 75, seed=1)
    index, _ = graph.search(query, database)
    expected, _ = graph.double().search(query.double(), database.double())
    assert torch.equal(index.sort(-1).values, expected.sort(-1).values)


def test_rejects_wrong_shapes():
    graph = GraphAggregator(num_feat=4)
    with pytest.raises(ValueError, match=r"`query_image` must have shape \(B, 3, H, W\), B = 3, got \(3, 9, 9\)"):
        graph(image(3, 9, 9))
    with pytest.raises(ValueError, match=r"`database_image` must have shape .* B = 2, got \(1, 3, 9, 9\)"):
        graph(image(2, 3, 9, 9), image(1, 3, 9, 9))
    with pytest.raises(ValueError, match="`database_features` must have the batch and size of `database_image`"):
        graph(image(1, 3, 9, 9), None, image(1, 4, 9, 10))


@pytest.mark.parametrize(("size", "stride"), [((12, 15), 3), ((2, 2), 3), ((7, 10), 2)])
def test_neighbors_and_weights_are_those_of_the_sum(size, stride):
    graph = GraphAggregator(num_feat=4, stride=stride, num_neighbors=3, window_size=None).double()
    query, database = image(1, 3, *size).double(), image(1, 3, 9, 18, seed=1).double()
    index, weight = graph.neighbors(query, database)
    torch.testing.assert_close(weight.sum(-1), torch.ones_like(weight[..., 0]))
    assert len(weight.unique()) > len(weight)
    with torch.no_grad():
        expected = graph(query, database)
        padded = F.pad(query, (0, max(graph.minimum_side - size[1], 0), 0, max(graph.minimum_side - size[0], 0)))
        patches = extract_patches(graph.embed(database), 3, stride)[0]
        summed = (weight[0, ..., None] * patches[index[0]]).sum(1)[None]
        rows, columns = padded.shape[2:]
        output = sum_patches(summed, rows, columns, 3, stride) / coverage(summed, rows, columns, 3, stride)
    torch.testing.assert_close(output[..., : size[0], : size[1]], expected)
