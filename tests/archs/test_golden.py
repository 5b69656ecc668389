"""The "official" variant against numbers that the authors' network wrote: outputs, losses, gradients, neighbours."""

import json

import numpy as np
import pytest
import torch

from msgnn_plugin.archs import MSGNNArch
from msgnn_plugin.archs.msgnn_official import our_name
from msgnn_plugin.layers import gaussian_pyramid
from msgnn_plugin.layers.patch_graph import official_window_origin
from msgnn_plugin.losses import NegSSIMLoss

GRAPHS = {"1": "scale1", "2": "scale2", "4": "scale4", "guide": "exemplar"}


@pytest.fixture(params=["A_graph_guide_48", "C_nograph_48", "E_window6_64"])
def case(request, shared):
    stored = np.load(shared / "golden" / "msgnn" / f"{request.param}.npz")
    return {
        name: torch.from_numpy(stored[name]) if stored[name].dtype.kind in "fi" else stored[name] for name in stored
    }


@pytest.fixture
def network(case):
    config = json.loads(str(case["config"]))
    checkpoint = {"net": {f"module.{name[3:]}": value for name, value in case.items() if name.startswith("sd/")}}
    overrides = {"num_neighbors": config["n_neighbors"], "window_size": config["window"]}
    return MSGNNArch.from_official(checkpoint, channel_order="rgb", **overrides)


def test_output_loss_and_gradients(case, network):
    output = network(case["rainy"], case["guide"])
    assert (output - case["output"]).abs().max() < 2e-5
    loss = NegSSIMLoss()(output, case["target"])
    assert (loss - case["loss"]).abs() < 1e-5
    loss.backward()
    parameters = dict(network.named_parameters())
    stored = {name[5:]: value for name, value in case.items() if name.startswith("grad/")}
    assert len(stored) >= 12
    for name, expected in stored.items():
        error = (parameters[our_name(name)].grad - expected).abs().max()
        assert error < 1e-3 * expected.abs().max(), name


def test_a_pyramid_made_outside_gives_the_same_output(case, network):
    pyramid = [case["rainy"], case["rainy_2"], case["rainy_4"]]
    output = network(case["rainy"], case["guide"], pyramid)
    assert (output - case["output"]).abs().max() < 2e-5


def test_pyramid(case):
    made = gaussian_pyramid(case["rainy"], (1, 2, 4))
    for level, name in zip(made, ("rainy", "rainy_2", "rainy_4")):
        torch.testing.assert_close(level, case[name], rtol=0, atol=1e-6)


def test_neighbour_sets(case, network):
    databases = {"1": case["rainy"], "2": case["rainy_2"], "4": case["rainy_4"], "guide": case["guide"]}
    for key, graph in GRAPHS.items():
        if f"idx_{key}" in case:
            index, distance = network.graphs[graph].search(case["rainy"], databases[key])
            assert torch.equal(index.sort(-1).values, case[f"idx_{key}"].long().sort(-1).values)
            torch.testing.assert_close(distance + 1e-5, case[f"dist_{key}"], rtol=1e-4, atol=1e-4)


def test_channel_order_bgr_turns_the_image_channels(case, network):
    names = {name[3:]: value for name, value in case.items() if name.startswith("sd/")}
    config = json.loads(str(case["config"]))
    rgb = MSGNNArch.from_official(names, num_neighbors=config["n_neighbors"], window_size=config["window"])
    with torch.no_grad():
        expected = network(case["rainy"], case["guide"]).flip(1)
        torch.testing.assert_close(rgb(case["rainy"].flip(1), case["guide"].flip(1)), expected, rtol=0, atol=2e-5)


def test_weights_of_an_official_network_build_it_again(case, network):
    again = MSGNNArch.from_state_dict({"params": network.state_dict()})
    with torch.no_grad():
        assert torch.equal(again(case["rainy"], case["guide"]), network(case["rainy"], case["guide"]))


def test_official_windows(shared):
    tables = np.load(shared / "golden" / "msgnn" / "window_index.npz")
    for name in tables.files:
        database, query, window, scale = (part[1:] for part in name.split("_"))
        rows, columns = (int(n) for n in database.split("x"))
        origin = official_window_origin(
            [int(n) for n in query.split("x")], [rows, columns], int(window), int(scale), torch.device("cpu")
        )
        side = min(int(window), rows, columns)
        offset = torch.cartesian_prod(torch.arange(side), torch.arange(side))
        place = origin[:, None] + offset.flip(1)
        np.testing.assert_array_equal((place[..., 0] * columns + place[..., 1]).numpy(), tables[name])


@pytest.mark.parametrize("pair", range(5))
def test_negative_ssim(shared, pair):
    stored = np.load(shared / "golden" / "msgnn" / "metrics.npz")
    first = torch.from_numpy(stored[f"{pair}/img1"]).requires_grad_()
    loss = NegSSIMLoss()(first, torch.from_numpy(stored[f"{pair}/img2"]))
    loss.backward()
    assert abs(loss.item() + float(stored[f"{pair}/ssim"])) < 1e-5
    expected = stored[f"{pair}/grad_img1"]
    # Where the images are equal the true gradient is 0 and only rounding is left.
    limit = max(1e-4 * np.abs(expected).max(), 1e-8)
    np.testing.assert_allclose(-first.grad.numpy(), expected, rtol=0, atol=limit)
