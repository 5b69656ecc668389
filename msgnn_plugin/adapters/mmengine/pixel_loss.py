"""The absolute difference under the keywords that MMagic's configs give it, for where MMagic is not installed."""

from typing import Literal

from torch import Tensor, nn


class L1Loss(nn.Module):
    """Absolute difference of two images.

    Args:
        loss_weight: Factor of the loss.
        reduction: "mean" or "sum" over everything.

    Raises:
        ValueError: If the reduction is neither.
    """

    def __init__(self, loss_weight: float = 1.0, reduction: Literal["mean", "sum"] = "mean") -> None:
        super().__init__()
        if reduction not in ("mean", "sum"):
            raise ValueError(f"L1Loss: `reduction` must be 'mean' or 'sum', got {reduction!r}.")
        self.loss_weight = loss_weight
        self.reduction = reduction

    def forward(self, derained: Tensor, clean: Tensor) -> Tensor:
        """Return the weighted loss. Shape: (B, C, H, W) twice -> ()."""
        return self.loss_weight * nn.functional.l1_loss(derained, clean, reduction=self.reduction)
