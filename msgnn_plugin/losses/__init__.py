"""Losses that the toolboxes lack."""

from msgnn_plugin.losses.neg_ssim import NegSSIMLoss

__all__ = ["NegSSIMLoss"]
