"""What deraining weights take off rainy pictures and off clean ones, and how near the clean ones they come.

A network that does nothing removes nothing from either; one that repaints removes as much from clean pictures. Beside
the given weights stand the rainy input, which is also what a network of no effect gives, and PSNR and SSIM of Y by
BasicSR's functions: 8-bit pictures, no border cut. `--curves` draws the losses of the runs the weights come from.
"""

import argparse
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from benchmarks.harness import RESULTS, cpu_model, machine_name
from msgnn_plugin.adapters.basicsr import register
from msgnn_plugin.adapters.basicsr.reporting.logs import parse_losses, read_logs
from msgnn_plugin.archs import from_state_dict, load_weights
from msgnn_plugin.data import PictureReader, find_pairs

COLUMNS = ("weights", "Y-PSNR", "Y-SSIM", "removed from rainy", "removed from clean")
Network = Callable[[torch.Tensor], torch.Tensor]


def derain(network: Network, picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return the derained picture, RGB uint8 (H, W, 3), rounded."""
    image = torch.from_numpy(np.ascontiguousarray(picture)).permute(2, 0, 1)[None] / 255
    with torch.no_grad():
        derained = network(image)[0].clamp(0, 1)
    return (derained * 255).round().byte().permute(1, 2, 0).numpy()


def measure(network: Network, pairs: list[tuple[NDArray[np.uint8], NDArray[np.uint8]]]) -> dict[str, float]:
    """Return means over pairs; removed layers as mean absolute differences in levels of 255."""
    from basicsr.metrics import calculate_metric

    rows = []
    for rainy, clean in pairs:
        derained, untouched = derain(network, rainy), derain(network, clean)
        images = {"img": derained[..., ::-1], "img2": clean[..., ::-1]}
        metrics = [
            calculate_metric(images, {"type": f"calculate_{name}", "crop_border": 0, "test_y_channel": True})
            for name in ("psnr", "ssim")
        ]
        removed = [np.abs(a.astype(int) - b).mean() for a, b in ((rainy, derained), (clean, untouched))]
        rows.append([*metrics, *removed])
    return dict(zip(COLUMNS[1:], np.mean(rows, axis=0).tolist(), strict=True))


def draw_curves(runs: list[Path], file: Path) -> None:
    """Draw every loss of every run, one panel a loss."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    curves = {run.name: parse_losses(read_logs(run)) for run in runs}
    names = list(dict.fromkeys(name for of_run in curves.values() for name in of_run))
    columns = 4
    figure, axes = pyplot.subplots(-(-len(names) // columns), columns, figsize=(13, 2.4 * -(-len(names) // columns)))
    for axis, name in zip(axes.flat, names, strict=False):
        for run, of_run in curves.items():
            axis.plot(*zip(*of_run.get(name, [(0, np.nan)]), strict=True), label=run, linewidth=1)
        axis.set_title(name, fontsize=9)
        axis.tick_params(labelsize=7)
    for axis in axes.flat[len(names) :]:
        axis.axis("off")
    axes.flat[0].legend(fontsize=7)
    figure.tight_layout()
    figure.savefig(file, dpi=80)


def main() -> None:
    """Measure, print one table, write JSON, draw curves where asked."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.removed_layer")
    parser.add_argument("weights", nargs="+", metavar="NAME=FILE", help="weights and what the table calls them")
    parser.add_argument("--data", default="datasets/rain100l/test", help="pairs (%(default)s)")
    parser.add_argument("--curves", metavar="FILE.png", help="draw the losses of the runs that the weights lie in")
    arguments = parser.parse_args()
    register()
    reader = PictureReader()
    pairs = [reader.read_pair(pair) for pair in find_pairs(arguments.data)]
    named = [entry.partition("=")[::2] for entry in arguments.weights]
    networks = {name: from_state_dict(load_weights(file)).eval() for name, file in named}
    rows = {"rainy input, or no effect": measure(lambda image: image, pairs)}
    rows |= {name: measure(network, pairs) for name, network in networks.items()}
    table = Table(*COLUMNS, title=f"removed_layer: {len(pairs)} pairs, {cpu_model()}")
    for name, values in rows.items():
        table.add_row(
            name, f"{values['Y-PSNR']:.2f}", f"{values['Y-SSIM']:.4f}", *(f"{values[c]:.2f}" for c in COLUMNS[3:])
        )
    Console().print(table)
    content = {"machine": cpu_model(), "pairs": len(pairs), "rows": rows}
    (RESULTS / f"removed_layer-{machine_name()}.json").write_text(json.dumps(content, indent=2) + "\n")
    if arguments.curves:
        runs = [Path(file).parents[1] for _, file in named if (Path(file).parents[1] / "training_states").is_dir()]
        draw_curves(runs, Path(arguments.curves))


if __name__ == "__main__":
    main()
