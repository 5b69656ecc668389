"""Learning rate schedules that BasicSR lacks."""

from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR


def linear_decay(optimizer: Optimizer, *, constant: int, decay: int) -> LambdaLR:
    """Return a schedule that keeps the learning rate, then lowers it by equal steps to 0.

    Args:
        optimizer: What is scheduled.
        constant: Iterations at the full rate, at least 0.
        decay: Iterations of the way down, at least 1; after them the rate is 0.

    Raises:
        ValueError: If a number is out of its range.
    """
    for name, value, least in (("constant", constant, 0), ("decay", decay, 1)):
        if value < least:
            raise ValueError(f"`train.scheduler.{name}` must be at least {least}, got {value}.")
    return LambdaLR(optimizer, lambda step: 1 - min(max(step - constant, 0) / decay, 1))
