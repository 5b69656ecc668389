"""`MSGNNModel`: a deraining network inside mmengine's Runner, under the keywords of MMagic's `BaseEditModel`."""

import inspect
from collections.abc import Sequence
from typing import Any

import torch
from mmengine.model import BaseModel
from mmengine.registry import MODELS
from torch import Tensor, nn

from msgnn_plugin.adapters.mmengine.preprocessor import DataPreprocessor


class MSGNNModel(BaseModel):
    """Train and test a network by pairs, with an exemplar where it takes one.

    A config for MMagic's `BaseEditModel` needs another ``type`` and nothing else. Samples without an exemplar are
    fine: the network then takes its bank, else the rainy image itself.

    Args:
        generator: Config of the network, such as ``dict(type="MSGNNArch")``.
        pixel_loss: Config of the loss between derained and clean, or a list of several, which are summed.
        train_cfg: Kept as an attribute for hooks of others, as MMagic does; nothing here reads it.
        test_cfg: Likewise.
        init_cfg: mmengine's, for `init_weights`.
        data_preprocessor: Config of what makes batches; None takes ours, `DataPreprocessor`.

    Raises:
        ValueError: If a part cannot be built from its config; the sentence names it.
    """

    def __init__(
        self,
        generator: dict[str, Any],
        pixel_loss: dict[str, Any] | Sequence[dict[str, Any]],
        train_cfg: dict[str, Any] | None = None,
        test_cfg: dict[str, Any] | None = None,
        init_cfg: dict[str, Any] | None = None,
        data_preprocessor: dict[str, Any] | nn.Module | None = None,
    ) -> None:
        # Built by its class: in MMagic's scope the name would be MMagic's, whose defaults bring pictures to [-1, 1].
        preprocessor = DataPreprocessor() if data_preprocessor is None else data_preprocessor
        if not isinstance(preprocessor, nn.Module):
            preprocessor = _build("data_preprocessor", preprocessor)
        super().__init__(data_preprocessor=preprocessor, init_cfg=init_cfg)
        self.train_cfg = train_cfg
        self.test_cfg = test_cfg
        self.generator = _build("generator", generator)
        self.takes_exemplar = "exemplar" in inspect.signature(self.generator.forward).parameters
        configs = [pixel_loss] if isinstance(pixel_loss, dict) else list(pixel_loss)
        if not configs:
            raise ValueError("MSGNNModel: `pixel_loss` must be a loss or a list of some, got an empty list.")
        self.pixel_loss = nn.ModuleList(_build("pixel_loss", config) for config in configs)

    def forward(self, inputs: Tensor, data_samples: Any = None, mode: str = "tensor") -> Any:
        """Run the network.

        Args:
            inputs: Rainy images (B, 3, H, W), scaled by the preprocessor.
            data_samples: What belongs to them: a list with one element each, or MMagic's stacked one.
            mode: "loss", "predict" or "tensor".

        Returns:
            "loss": the losses by name. "predict": a list with one sample each, which gained ``input`` and
            ``output.pred_img``, (3, H, W) in [0, 255] on the CPU. "tensor": the derained images as the network gives
            them, (B, 3, H, W).

        Raises:
            ValueError: If the mode is another, or clean pictures are missing for a loss.
            RuntimeError: If a loss is not finite; the weights are as before.
        """
        if mode == "loss":
            return self._losses(self._derain(inputs, data_samples), data_samples)
        if mode == "predict":
            return self._predictions(inputs, data_samples)
        if mode == "tensor":
            return self._derain(inputs, data_samples)
        raise ValueError(f"MSGNNModel: `mode` must be 'loss', 'predict' or 'tensor', got {mode!r}.")

    def _derain(self, rainy: Tensor, samples: Any) -> Tensor:
        exemplar = _stacked(samples, "exemplar") if self.takes_exemplar else None
        return self.generator(rainy) if exemplar is None else self.generator(rainy, exemplar)

    def _losses(self, derained: Tensor, samples: Any) -> dict[str, Tensor]:
        clean = _stacked(samples, "gt_img")
        if clean is None:
            raise ValueError(
                "MSGNNModel: `gt_img` (`gt` in our data sets) must be in every sample to train on, got none."
            )
        names = [f"loss_{number}_{type(loss).__name__}" for number, loss in enumerate(self.pixel_loss)]
        if len(names) == 1:
            names = ["loss"]
        losses = {name: loss(derained.float(), clean) for name, loss in zip(names, self.pixel_loss, strict=True)}
        for name, value in losses.items():
            if not value.isfinite():
                raise RuntimeError(
                    f"MSGNNModel: `{name}` must be finite, got {value.item()}; stopped before the update. Lower the "
                    "learning rate, set `optim_wrapper.clip_grad` or look at the data."
                )
        return losses

    def _predictions(self, rainy: Tensor, samples: Any) -> list[Any]:
        pictures = self.data_preprocessor.destruct(self._derain(rainy, samples), samples).cpu()
        inputs = self.data_preprocessor.destruct(rainy, samples).cpu()
        predictions = samples if isinstance(samples, list) else samples.split()
        for sample, picture, before in zip(predictions, pictures, inputs, strict=True):
            sample.input = before
            sample.output = type(sample)(pred_img=picture)
        return predictions


def _build(field: str, config: dict[str, Any]) -> nn.Module:
    """Build a part of the model, with a sentence that names the part where that fails."""
    if not isinstance(config, dict) or "type" not in config:
        raise ValueError(f"MSGNNModel: `{field}` must be a dictionary with a `type`, got {config!r}.")
    name = config["type"]
    try:
        return MODELS.build(config)
    except KeyError as error:
        if f"{name} is not in the" not in str(error):
            raise
        raise ValueError(
            f"MSGNNModel: `{field}.type` must be a registered name, got {name!r}; look at its spelling, or import its "
            "module in `custom_imports`."
        ) from error
    except TypeError as error:
        raise ValueError(f"MSGNNModel: `{field}` does not fit {name}: {error}.") from error


def _stacked(samples: Any, name: str) -> Tensor | None:
    """Return the pictures of this name as a batch, or None where a sample has none."""
    if isinstance(samples, list):
        return torch.stack([sample.get(name) for sample in samples]) if all(name in each for each in samples) else None
    return samples.get(name) if samples is not None and name in samples else None
