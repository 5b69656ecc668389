"""Losses that the toolboxes lack."""

from msgnn_plugin.losses.balancing import MultiObjectiveBalancer
from msgnn_plugin.losses.neg_ssim import NegSSIMLoss

__all__ = ["MultiObjectiveBalancer", "NegSSIMLoss"]
