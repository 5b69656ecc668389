"""UniRain: its size beside Restormer's, the forward pass at 256 x 256, chosen experts beside all of them."""

from functools import partial

import torch
from rich.console import Console
from rich.table import Table
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from benchmarks import harness
from msgnn_plugin.archs import UniRainArch
from msgnn_plugin.layers.experts import ExpertMixture

SIDE = 256
# Restormer's form is ours without experts, with its feed-forward nets' width.
NETWORKS = {
    "UniRain": {},
    "soft encoder, soft decoder": {"decoder_routing": "soft"},
    "hard encoder, hard decoder": {"encoder_routing": "hard"},
    "Restormer's form": {"expert_blocks": 0, "ffn_factor": 2.66},
}
# Millions of parameters, and 10^9 multiply-adds at 256 x 256 without attention products, as published.
PUBLISHED = {"UniRain": (24.4, 126.5), "Restormer's form": (26.13, 140.99)}
# Channels and side of the maps in the decoder and the refinement, from crops of 128.
MAPS = {"lowest": (192, 32), "middle": (96, 64), "full size": (96, 128)}
BATCH = 4


def sizes() -> list[dict[str, object]]:
    """Return parameters and multiply-adds (convolutions and addmm, as the published numbers count) by network."""
    rows = []
    for name, settings in NETWORKS.items():
        network = UniRainArch(**settings).eval()
        with torch.no_grad(), FlopCounterMode(display=False) as counter:
            network(torch.rand(1, 3, SIDE, SIDE))
        counts = counter.get_flop_counts()["Global"]
        work = sum(count for op, count in counts.items() if "conv" in str(op) or "addmm" in str(op)) / 2
        parameters = sum(parameter.numel() for parameter in network.parameters())
        rows.append(
            {"network": name, "parameters": parameters, "multiply_adds": work, "published": PUBLISHED.get(name)}
        )
    return rows


def print_sizes(rows: list[dict[str, object]]) -> None:
    """Print the first table."""
    table = Table(title=f"size, and multiply-adds at {SIDE} x {SIDE} without attention products")
    for column in ("network", "M parameters", "published", "10^9 multiply-adds", "published"):
        table.add_column(column, justify="left" if column == "network" else "right")
    for row in rows:
        published = [str(number) for number in row["published"] or ("", "")]
        parameters, work = f"{row['parameters'] / 1e6:.2f}", f"{row['multiply_adds'] / 1e9:.1f}"
        table.add_row(row["network"], parameters, published[0], work, published[1])
    Console().print(table)


def build_network(name: str) -> tuple[UniRainArch, Tensor]:
    """Return a network and one picture."""
    torch.manual_seed(0)
    return UniRainArch(**NETWORKS[name]).eval(), torch.rand(1, 3, SIDE, SIDE)


def derain(network: UniRainArch, rainy: Tensor) -> None:
    """Derain the picture."""
    with torch.inference_mode():
        network(rainy)


def build_mixture(width: int, side: int) -> tuple[ExpertMixture, Tensor, Tensor]:
    """Return the default's experts, maps of a batch, and weights with which each image chose one, in turn."""
    torch.manual_seed(0)
    hidden = round(2.05 * width / 8) * 8
    mixture = ExpertMixture(num_feat=width, hidden=hidden, num_experts=3, top_k=1, noise_std=0.0)
    maps = torch.randn(BATCH, width, side, side).contiguous(memory_format=torch.channels_last)
    weights = torch.zeros(BATCH, 3)
    weights[torch.arange(BATCH), torch.arange(BATCH) % 3] = 0.7
    return mixture, maps, weights


def mix(chosen: bool, train: bool, mixture: ExpertMixture, maps: Tensor, weights: Tensor) -> None:
    """Run the experts, with gradients in training."""
    with torch.set_grad_enabled(train):
        derived = (mixture.run_chosen if chosen else mixture.run_all)(maps, weights)
        if train:
            derived.sum().backward()


if __name__ == "__main__":
    arguments = harness.parse(harness.make_parser("unirain", rounds=3))
    jobs = {
        f"forward, {SIDE} x {SIDE}": [
            harness.Contender(name, partial(build_network, name), derain)
            for name in ("Restormer's form", "UniRain", "soft encoder, soft decoder")
        ]
    }
    for what, train in (("forward", False), ("with gradients", True)):
        for place, (width, side) in MAPS.items():
            jobs[f"experts, {place}, {what}"] = [
                harness.Contender(name, partial(build_mixture, width, side), partial(mix, chosen, train))
                for name, chosen in (("all", False), ("chosen", True))
            ]
    counted = sizes()
    print_sizes(counted)
    rows = [row for job, contenders in jobs.items() for row in harness.measure(job, contenders, arguments.rounds)]
    harness.print_table(rows, f"unirain: {harness.cpu_model()}, {arguments.threads} threads")
    shapes = {"picture": (1, 3, SIDE, SIDE), "maps (channels, side)": MAPS, "batch": BATCH}
    harness.write("unirain", rows, shapes, arguments, sizes=counted)
