"""Put our networks, losses, data sets and model into BasicSR's registries."""

import importlib
import importlib.util

from msgnn_plugin.adapters.basicsr import compat


def register_all() -> None:
    """Import BasicSR with its mends and register everything of ours; calling it twice is harmless.

    Raises:
        ImportError: If BasicSR or something it imports is missing.
    """
    compat.apply()
    registry = importlib.import_module("basicsr.utils.registry")
    archs = importlib.import_module("msgnn_plugin.archs")
    layers = importlib.import_module("msgnn_plugin.layers")
    losses = importlib.import_module("msgnn_plugin.losses")
    datasets = importlib.import_module("msgnn_plugin.adapters.basicsr.datasets")
    models = importlib.import_module("msgnn_plugin.adapters.basicsr.models")
    nlcl_model = importlib.import_module("msgnn_plugin.adapters.basicsr.nlcl_model")
    metrics = importlib.import_module("msgnn_plugin.adapters.basicsr.metrics")
    unirain_model = importlib.import_module("msgnn_plugin.adapters.basicsr.unirain_model")
    wanted = {
        registry.ARCH_REGISTRY: (
            archs.MSGNNArch,
            archs.NLCLGenerator,
            archs.NLCLDiscriminator,
            archs.UniRainArch,
            layers.GraphAggregator,
        ),
        registry.LOSS_REGISTRY: (
            losses.NegSSIMLoss,
            losses.LocationContrastiveLoss,
            losses.LayerContrastiveLoss,
            losses.AsymmetricLayerContrastiveLoss,
        ),
        registry.DATASET_REGISTRY: (
            datasets.PairedExemplarDataset,
            datasets.RainyExemplarDataset,
            datasets.SyntheticRainDataset,
            datasets.UnpairedRainDataset,
            datasets.TypedPairDataset,
            datasets.SyntheticTypedDataset,
            datasets.MixedRainDataset,
        ),
        registry.MODEL_REGISTRY: (models.MSGNNModel, nlcl_model.NLCLModel, unirain_model.UniRainModel),
    }
    wanted[registry.METRIC_REGISTRY] = [metrics.calculate_ssim_luma]
    if importlib.util.find_spec("lpips"):
        wanted[registry.METRIC_REGISTRY].append(metrics.calculate_lpips)
    for target, things in wanted.items():
        for thing in things:
            if thing.__name__ not in target:
                target.register(thing)
