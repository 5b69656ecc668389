"""Tiled against whole: equal where one tile covers it, close elsewhere, closest with the whole picture as database."""

import pytest
import torch
from torch import nn

from msgnn_plugin.archs import MSGNNArch, NLCLGenerator
from msgnn_plugin.memory import estimate_bytes
from msgnn_plugin.tiling import Tiling, derain

SMALL = {"num_feat": 8, "num_blocks": 2, "num_groups": 2, "window_size": 8}


def image(*shape, seed=0):
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed))


def network(**settings):
    torch.manual_seed(0)
    return MSGNNArch(**{**SMALL, **settings}).eval().requires_grad_(False)


@pytest.mark.parametrize("variant", ["paper", "official"])
@pytest.mark.parametrize("database", ["image", "tile"])
@pytest.mark.parametrize("tile", [None, "auto", 61, 500])
def test_what_one_tile_covers_is_the_whole_run(variant, database, tile):
    net, rainy, exemplar = network(variant=variant), image(1, 3, 47, 61), image(1, 3, 33, 70, seed=1)
    for more in (None, exemplar):
        tiled = derain(net, rainy, more, Tiling(tile=tile, tile_database=database))
        assert torch.equal(tiled, net(rainy, more))


@pytest.mark.parametrize("variant", ["paper", "official"])
def test_tiles_come_close_to_the_whole_and_closer_with_its_database(variant):
    net, rainy, exemplar = network(variant=variant), image(1, 3, 97, 131), image(1, 3, 75, 90, seed=1)
    for more in (None, exemplar):
        whole = net(rainy, more)
        # What the network changes at all, to measure what tiles change by.
        removed = (whole - rainy).square().mean()
        error = {}
        for database in ("image", "tile"):
            tiled = derain(net, rainy, more, Tiling(tile=60, tile_overlap=24, tile_database=database))
            assert tiled.shape == rainy.shape
            error[database] = ((tiled - whole).square().mean() / removed).item()
        assert 0 < error["image"] < error["tile"] < 1e-4


def test_without_sub_networks_that_look_around_a_tiled_database_image_is_the_whole_run():
    """Only 3x3 kernels' middles are left, so nothing but the graph sees beyond its pixel."""
    net = network(channel_attention=None).double()
    for name, parameter in net.named_parameters():
        if parameter.dim() == 4 and parameter.shape[2] > 1 and not name.startswith("graphs"):
            middle = parameter.shape[2] // 2
            centre = parameter[:, :, middle, middle].clone()
            parameter.zero_()[:, :, middle, middle] = centre
    rainy = image(1, 3, 97, 131).double()
    whole = net(rainy)
    tilings = {database: Tiling(tile=36, tile_overlap=5, tile_database=database) for database in ("image", "tile")}
    torch.testing.assert_close(derain(net, rainy, None, tilings["image"]), whole, rtol=0, atol=1e-10)
    assert (derain(net, rainy, None, tilings["tile"]) - whole).abs().max() > 1e-6


@pytest.mark.parametrize("size", [(1, 150), (150, 2), (37, 101), (100, 100)])
@pytest.mark.parametrize("settings", [{}, {"window_size": None}, {"graph": False}, {"scales": ()}], ids=str)
def test_any_size_in_tiles(size, settings):
    rainy = image(2, 3, *size)
    for database in ("image", "tile"):
        tiled = derain(network(**settings), rainy, None, Tiling(tile=40, tile_overlap=9, tile_database=database))
        assert tiled.shape == rainy.shape
        assert tiled.isfinite().all()


def test_networks_of_others_are_tiled_too():
    torch.manual_seed(0)
    net = nn.Conv2d(3, 3, 3, padding=1).requires_grad_(False)
    rainy = image(1, 3, 30, 50)
    tiled, whole = derain(net, rainy, None, Tiling(tile=20, tile_overlap=4)), net(rainy)
    # Only the pixel at a tile's border sees anything else, at an eighth of the weight.
    assert 0 < (tiled - whole).abs().max() < 0.2
    assert ((tiled - whole).abs().amax((0, 1)) > 1e-6).float().mean() < 0.5
    with pytest.raises(ValueError, match=r"`tile` auto needs a network whose memory can be estimated .* got Conv2d"):
        derain(net, rainy, None, Tiling(tile="auto"))


@torch.no_grad()
@pytest.mark.parametrize("size", [(61, 47), (100, 37), (1, 90)])
def test_a_network_that_tiles_exactly_gives_the_whole_result(size):
    torch.manual_seed(0)
    net, rainy = NLCLGenerator(num_blocks=2), image(1, 3, *size)
    for tile in (40, "auto", None):
        tiled = derain(net, rainy, None, Tiling(tile=tile))
        torch.testing.assert_close(tiled, net(rainy), rtol=0, atol=1e-5)


@torch.no_grad()
def test_its_memory_is_told_beforehand_and_its_tiles_need_no_overlap():
    net, rainy = NLCLGenerator(), image(1, 3, 1, 1).expand(1, 3, 3072, 4096)
    room = (net.estimate_bytes((3072, 4096), tile=512) + net.estimate_bytes((3072, 4096), tile=768)) / 2**31
    with pytest.raises(MemoryError, match=r"4096 x 3072 pixels need about 3\.\d GiB .* use `--tile 512`"):
        derain(net, rainy, None, Tiling(memory=room))
    assert Tiling(memory=room, tile="auto").settle(net, rainy) == 512
    assert Tiling(memory=6, tile="auto").settle(net, rainy) is None
    with pytest.raises(ValueError, match=r"`tile_overlap` must be left out for NLCLGenerator, .* got 8"):
        derain(net, rainy, None, Tiling(tile=64, tile_overlap=8))
    with pytest.raises(ValueError, match=r"`tile_database` must be left out for NLCLGenerator, .* got 'tile'"):
        derain(net, rainy, None, Tiling(tile=64, tile_database="tile"))


def test_too_large_a_picture_is_told_before_the_run():
    net, rainy = MSGNNArch(), image(1, 3, 1, 1).expand(1, 3, 1080, 1920)
    room = (estimate_bytes(net, (1080, 1920), tile=256) + estimate_bytes(net, (1080, 1920), tile=384)) / 2**31
    sentence = (
        r"^1920 x 1080 pixels need about \d+\.\d GiB of memory, more than the \d\.\d GiB available; "
        r"use `--tile 256` \(in option files `val: tile: 256`\)$"
    )
    with pytest.raises(MemoryError, match=sentence):
        derain(net, rainy, None, Tiling(memory=room))
    with pytest.raises(MemoryError, match=r"pixels in tiles of 768 need about .* use `--tile 256`"):
        derain(net, rainy, None, Tiling(memory=room, tile=768))
    assert Tiling(memory=room, tile=256).settle(net, rainy) == 256
    assert Tiling(memory=room, tile="auto").settle(net, rainy) == 256
    assert Tiling(tile="auto", memory=2**20).settle(net, rainy) is None
    # A step of 12 pixels and the overlap leave no smaller tile to suggest.
    with pytest.raises(MemoryError, match="available; no smaller tiles would fit"):
        derain(net, rainy, None, Tiling(memory=room, tile_overlap=250, tile=768))
    with pytest.raises(MemoryError, match=r"more than the 1 MiB available; no smaller tiles would fit"):
        derain(net, rainy, None, Tiling(memory=1 / 1024, tile="auto"))


@pytest.mark.parametrize(
    ("settings", "kind", "sentence"),
    [
        ({"tile": 0}, ValueError, r"`tile` must be at least `tile_overlap` \+ 1 = 33 pixels, got 0"),
        ({"tile": -5, "tile_overlap": 0}, ValueError, "`tile` must be at least .* = 1 pixels, got -5"),
        ({"tile": 64, "tile_overlap": 64}, ValueError, "`tile` must be at least .* = 65 pixels, got 64"),
        ({"tile_overlap": -1}, ValueError, "`tile_overlap` must be at least 0, got -1"),
        ({"tile": "some"}, TypeError, "`tile` must be a whole number of pixels, \"auto\" or None, got 'some'"),
        ({"tile": 64.0}, TypeError, "`tile` must be a whole number of pixels"),
        ({"tile": True}, TypeError, "`tile` must be a whole number of pixels"),
        ({"tile_overlap": "32"}, TypeError, "`tile_overlap` must be a whole number of pixels, got '32'"),
        ({"tile_database": "both"}, ValueError, r"`tile_database` must be one of \('image', 'tile'\), got 'both'"),
        ({"memory": 0}, ValueError, "`memory` must be above 0 GiB, got 0"),
        ({"memory": float("nan")}, ValueError, "`memory` must be above 0 GiB, got nan"),
    ],
)
def test_wrong_settings_are_refused(settings, kind, sentence):
    with pytest.raises(kind, match=sentence):
        Tiling(**settings)


def test_tiles_must_suit_the_patches():
    with pytest.raises(ValueError, match=r"= 44 pixels, where tiles start at multiples of stride x largest scale = 12"):
        derain(network(), image(1, 3, 90, 90), None, Tiling(tile=43))
    assert derain(network(), image(1, 3, 90, 90), None, Tiling(tile=44)).shape == (1, 3, 90, 90)
