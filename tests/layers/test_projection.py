"""`gather_pixels` and `ProjectionHeads` against loops and plain formulas."""

import pytest
import torch

from msgnn_plugin.layers import ProjectionHeads, gather_pixels


def generator():
    return torch.Generator().manual_seed(0)


@pytest.mark.parametrize("size", [(40, 72), (20, 36), (39, 71), (5, 9), (1, 1)])
def test_gathers_the_pixel_under_each_place(size):
    feature_map = torch.randn(2, 4, *size, generator=generator())
    centres = torch.stack(
        [torch.randint(0, side, (2, 30), generator=generator()) for side in (40, 72)], -1
    )  # of a picture of 40x72
    centres[0, 0] = torch.tensor([39, 71])
    found = gather_pixels(feature_map, centres, (40, 72))
    assert found.shape == (2, 30, 4)
    for b in range(2):
        for n, (row, column) in enumerate(centres[b].tolist()):
            place = feature_map[b, :, row * size[0] // 40, column * size[1] // 72]
            assert torch.equal(found[b, n], place)


def test_a_crop_of_256_has_the_authors_places():
    feature_map = torch.arange(127 * 127.0).view(1, 1, 127, 127)
    centres = torch.tensor([[[16, 240], [255, 0], [128, 127]]])
    authors = centres * 127 // 256
    assert gather_pixels(feature_map, centres, (256, 256)).flatten().tolist() == [
        row * 127 + column for row, column in authors[0].tolist()
    ]


def test_gradients_reach_the_gathered_pixels_alone():
    feature_map = torch.randn(1, 3, 8, 8, requires_grad=True)
    gather_pixels(feature_map, torch.tensor([[[3, 5], [3, 5], [0, 0]]]), (8, 8)).sum().backward()
    wanted = torch.zeros(8, 8)
    wanted[3, 5], wanted[0, 0] = 2, 1
    assert torch.equal(feature_map.grad, wanted.expand(1, 3, 8, 8))


@pytest.mark.parametrize(
    ("change", "error", "match"),
    [
        ({"feature_map": torch.rand(3, 8, 8)}, ValueError, "`feature_map` must have shape"),
        ({"centres": torch.zeros(1, 4, 2)}, TypeError, "`centres` must be int64"),
        ({"centres": torch.zeros(2, 4, 2, dtype=torch.int64)}, ValueError, r"\(1, N, 2\), got \(2, 4, 2\)"),
        ({"centres": torch.tensor([[[0, 8]]])}, ValueError, r"must lie in \[0, 7\] x \[0, 7\]"),
        ({"centres": torch.tensor([[[-1, 0]]])}, ValueError, "must lie in"),
    ],
)
def test_gather_rejects(change, error, match):
    arguments = {"feature_map": torch.rand(1, 3, 4, 4), "centres": torch.tensor([[[1, 2]]])}
    with pytest.raises(error, match=match):
        gather_pixels(**{**arguments, **change}, image_size=(8, 8))


def test_heads_are_two_linear_layers_and_a_norm():
    heads = ProjectionHeads([3, 5], num_out=16)
    features = [torch.randn(2, 7, width, generator=generator()) for width in (3, 5)]
    embeddings = heads(features)
    for feature, embedding, (first, _, second) in zip(features, embeddings, heads.heads):
        hidden = (feature @ first.weight.T + first.bias).clamp(min=0)
        wanted = hidden @ second.weight.T + second.bias
        wanted = wanted / (wanted.square().sum(-1, keepdim=True).sqrt() + 1e-7)
        torch.testing.assert_close(embedding, wanted)
        assert embedding.shape == (2, 7, 16)


def test_heads_start_as_the_authors():
    torch.manual_seed(0)
    first, _, second = ProjectionHeads([32]).heads[0]
    for layer, fans in ((first, 32 + 256), (second, 512)):
        assert (layer.bias == 0).all()
        assert abs(layer.weight.std().item() / (0.02 * (2 / fans) ** 0.5) - 1) < 0.05


def test_every_head_gets_a_gradient_and_a_zero_feature_stays_finite():
    heads = ProjectionHeads([3, 4], num_out=8)
    features = [torch.zeros(1, 2, 3), torch.randn(1, 2, 4)]
    embeddings = heads(features)
    assert (embeddings[0] == 0).all()
    sum((embedding * torch.randn(8)).sum() for embedding in embeddings).backward()
    assert all(parameter.grad.isfinite().all() for parameter in heads.parameters())
    assert heads.heads[1][0].weight.grad.abs().sum() > 0


def test_lengths_are_1_under_autocast():
    with torch.autocast("cpu", dtype=torch.bfloat16):
        (embedding,) = ProjectionHeads([6])([torch.randn(1, 9, 6)])
    assert embedding.dtype == torch.float32
    torch.testing.assert_close(embedding.norm(dim=-1), torch.ones(1, 9), atol=1e-3, rtol=0)


@pytest.mark.parametrize(
    ("make", "match"),
    [
        (lambda: ProjectionHeads([]), "`widths` must be one or more numbers"),
        (lambda: ProjectionHeads([3, 0]), "`widths` must be one or more numbers"),
        (lambda: ProjectionHeads([3], num_out=0), "`num_out` must be at least 1, got 0"),
        (lambda: ProjectionHeads([3, 4])([torch.rand(1, 2, 3)]), r"widths \[3, 4\], got \[3\]"),
        (lambda: ProjectionHeads([3])([torch.rand(1, 2, 4)]), r"widths \[3\], got \[4\]"),
    ],
)
def test_heads_reject(make, match):
    with pytest.raises(ValueError, match=match):
        make()
