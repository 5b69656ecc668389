"""Put our networks, losses, data sets and model into BasicSR's registries."""

import importlib

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
    wanted = {
        registry.ARCH_REGISTRY: (archs.MSGNNArch, archs.NLCLGenerator, archs.NLCLDiscriminator, layers.GraphAggregator),
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
        ),
        registry.MODEL_REGISTRY: (models.MSGNNModel, nlcl_model.NLCLModel),
    }
    for target, things in wanted.items():
        for thing in things:
            if thing.__name__ not in target:
                target.register(thing)
