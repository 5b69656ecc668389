"""Losses that the toolboxes lack."""

from msgnn_plugin.losses.layer_contrastive import AsymmetricLayerContrastiveLoss, LayerContrastiveLoss
from msgnn_plugin.losses.location_contrastive import LocationContrastiveLoss
from msgnn_plugin.losses.neg_ssim import NegSSIMLoss

__all__ = ["AsymmetricLayerContrastiveLoss", "LayerContrastiveLoss", "LocationContrastiveLoss", "NegSSIMLoss"]
