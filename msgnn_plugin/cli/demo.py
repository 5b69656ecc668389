"""`basicsr demo`: a page in the browser that takes the rain out of pictures."""

import argparse
import ipaddress
import os
import tempfile
import warnings
from pathlib import Path

NAME = "demo"
HELP = "serve a page for the browser, on this machine only, that takes the rain out of pictures"
# How many requests may wait for their turn.
WAITING = 32


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add this sub-command's arguments."""
    parser.add_argument(
        "--weights",
        nargs="+",
        metavar="FILE",
        help="weights to choose among, of any network of ours, or names that `basicsr weights` lists; without, its "
        "default, if it has one",
    )
    parser.add_argument(
        "--exemplars", metavar="DIR", help="rainy pictures: offers the one of them whose rain is most alike as exemplar"
    )
    parser.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto", help="where to compute (auto)")
    parser.add_argument(
        "--host", default="127.0.0.1", help="address to listen at; 0.0.0.0 opens the page to the network (127.0.0.1)"
    )
    parser.add_argument("--port", type=int, default=7860, help="port to listen at; 0: any that is free (7860)")
    parser.add_argument(
        "--max-megabytes", type=float, default=20, metavar="MB", help="largest file that may be uploaded (20)"
    )
    parser.add_argument(
        "--max-megapixels", type=float, default=16, metavar="MP", help="largest picture that may be uploaded (16)"
    )
    parser.add_argument(
        "--jobs", type=int, default=1, metavar="N", help="pictures at a time; they share cores and memory (1)"
    )


def run(args: argparse.Namespace) -> int:
    """Serve the page until interrupted.

    Returns:
        1, for a server that ends by itself has failed.
    """
    _check(args)
    weights = _find_weights(args.weights)
    with tempfile.TemporaryDirectory(prefix="basicsr-demo-", ignore_cleanup_errors=True) as folder:
        # Read by gradio as it is imported, and later.
        os.environ |= {"GRADIO_TEMP_DIR": folder, "GRADIO_ANALYTICS_ENABLED": "False"}
        try:
            from msgnn_plugin.cli.demo_page import build_page
            from msgnn_plugin.cli.demo_server import open_port, serve
        except ImportError as error:
            raise ImportError(
                f'demo: the page needs the packages of its extra: `pip install "msgnn_plugin[demo]"` ({error}).'
            ) from error
        from msgnn_plugin.cli.demo_models import DemoModels

        port = open_port(args.host, args.port)
        with port:
            models = DemoModels(
                weights,
                device=args.device,
                exemplars=args.exemplars,
                jobs=args.jobs,
                max_pixels=int(args.max_megapixels * 1e6),
            )
            page = build_page(models, Path(folder), jobs=args.jobs, waiting=WAITING, megabytes=args.max_megabytes)
            serve(page, port, max_bytes=int(args.max_megabytes * 2**20), only_here=_is_loopback(args.host))
    return 1


def _check(args: argparse.Namespace) -> None:
    """Raise where an argument is out of its range; warn where others than this machine's users are let in."""
    from msgnn_plugin.data.image_file import MAX_PIXELS

    if not 0 <= args.port <= 65535:
        raise ValueError(f"demo: `--port` must be from 0 to 65535, got {args.port}.")
    if args.jobs < 1:
        raise ValueError(f"demo: `--jobs` must be at least 1, got {args.jobs}.")
    if not args.max_megabytes > 0:
        raise ValueError(f"demo: `--max-megabytes` must be above 0, got {args.max_megabytes:g}.")
    limit = MAX_PIXELS / 1e6
    if not 0 < args.max_megapixels <= limit:
        raise ValueError(
            f"demo: `--max-megapixels` must be above 0 and at most {limit:g}, got {args.max_megapixels:g}."
        )
    if not _is_loopback(args.host):
        warnings.warn(
            f"`--host {args.host}` lets everyone who reaches this machine use the page, without a password; leave it "
            "out to serve this machine alone.",
            stacklevel=2,
        )


def _find_weights(given: list[str] | None) -> list[str]:
    """Return the files of paths and names, or of the default where none are given."""
    from msgnn_plugin.cli.restore import NO_WEIGHTS
    from msgnn_plugin.weights import default_path, weights_path

    found = [weights_path(name) for name in given] if given else [default_path()]
    if None in found:
        raise ValueError(f"demo: {NO_WEIGHTS}")
    return list(map(str, found))


def _is_loopback(host: str) -> bool:
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
