"""The bank of exemplars that weights carry, chosen from the training set when training starts."""

from typing import Any

import numpy as np
from basicsr.data import build_dataset
from basicsr.utils import get_root_logger
from torch import Tensor

from msgnn_plugin.data.exemplar_bank import as_bytes, pack_bank
from msgnn_plugin.data.rain_description import describe_rain
from msgnn_plugin.data.retrieval import choose_covering

BANK_SIZE = 128
# Pictures looked at: enough to cover a set's kinds of rain, and done in under a minute.
_MOST_CANDIDATES = 1000


def bank_of_training_set(options: dict[str, Any], count: int, size: int) -> Tensor:
    """Choose crops of a training set that cover its rain; a function of the options and nothing else.

    Args:
        options: The training set's section of BasicSR's options.
        count: Crops wanted.
        size: Their side in pixels.

    Returns:
        Rainy crops, uint8, shape (count, 3, size, size).

    Raises:
        ValueError: If the set holds fewer pictures, or one is smaller than that.
    """
    # As they lie on the disk, for a picture to restore is not turned either; no crop needs an exemplar of its own.
    plain = {"gt_size": size, "use_hflip": False, "use_rot": False, "exemplar": "self", "exemplar_path": None}
    settings = {**options, **plain}
    if options["type"] == "MixedRainDataset":
        settings["parts"] = {name: {**part, **plain} for name, part in options["parts"].items()}
    dataset = build_dataset(settings)
    if len(dataset) < count:
        raise ValueError(f"`train.exemplar_bank` must be at most the training set's {len(dataset)}, got {count}.")
    get_root_logger().info(f"Choosing {count} exemplars of the training set, which the weights will carry.")
    order = np.random.default_rng(options["seed"]).permutation(len(dataset))
    try:
        crops = [as_bytes(dataset[int(index)]["lq"]) for index in order[: max(count, _MOST_CANDIDATES)]]
    except ValueError as error:
        raise ValueError(f"`train.exemplar_bank_size` must suit every picture, got {size}: {error}") from error
    chosen = choose_covering(np.stack([describe_rain(crop) for crop in crops]), count)
    return pack_bank([crops[number] for number in chosen])
