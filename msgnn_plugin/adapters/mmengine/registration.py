"""Put our networks, losses, data sets, metrics and what trains them into mmengine's root registries.

The registries of other OpenMMLab packages are children of these, so a config of MMagic's scope finds the names too; a
name that such a package has itself (`L1Loss`, `DataPreprocessor`, `PSNR`, `SSIM`) stays its own there.
"""

from mmengine.registry import DATA_SAMPLERS, DATASETS, HOOKS, METRICS, MODELS

from msgnn_plugin import archs, data, layers, losses
from msgnn_plugin.adapters.mmengine.hooks import ExactResumeHook
from msgnn_plugin.adapters.mmengine.metrics import PSNR, SSIM
from msgnn_plugin.adapters.mmengine.mixed import MixedDataset
from msgnn_plugin.adapters.mmengine.model import MSGNNModel
from msgnn_plugin.adapters.mmengine.pixel_loss import L1Loss
from msgnn_plugin.adapters.mmengine.preprocessor import DataPreprocessor
from msgnn_plugin.adapters.mmengine.sampler import SampleNumberSampler
from msgnn_plugin.data.rainy import RainyExemplarDataset

WANTED = {
    MODELS: (
        *(archs.MSGNNArch, archs.NLCLGenerator, archs.NLCLDiscriminator, archs.UniRainArch, layers.GraphAggregator),
        *(losses.NegSSIMLoss, losses.LocationContrastiveLoss, losses.LayerContrastiveLoss),
        *(losses.AsymmetricLayerContrastiveLoss, L1Loss, DataPreprocessor, MSGNNModel),
    ),
    DATASETS: (
        *(data.PairedExemplarDataset, data.SyntheticRainDataset, data.TypedPairDataset, data.SyntheticTypedDataset),
        *(data.UnpairedRainDataset, RainyExemplarDataset, MixedDataset),
    ),
    DATA_SAMPLERS: (SampleNumberSampler,),
    METRICS: (PSNR, SSIM),
    HOOKS: (ExactResumeHook,),
}


def register_all() -> None:
    """Register what is not there yet; calling it twice is harmless."""
    for registry, things in WANTED.items():
        for thing in things:
            if thing.__name__ not in registry.module_dict:
                registry.register_module(module=thing)
