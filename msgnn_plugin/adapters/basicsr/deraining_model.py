"""`DerainingModel`: what every training of ours does inside BasicSR, whatever its network and losses.

Imports BasicSR, so it is itself imported only by `registration.register`, after the mends.
"""

import copy
import inspect
from collections import OrderedDict
from pathlib import Path
from typing import Any, Literal

import torch
import torch.distributed as dist
from basicsr.models.base_model import BaseModel
from basicsr.models.sr_model import SRModel
from basicsr.utils import get_root_logger
from torch import Tensor, nn

from msgnn_plugin.adapters.basicsr.checkpoints import newest_checkpoint
from msgnn_plugin.adapters.basicsr.components import registered
from msgnn_plugin.adapters.basicsr.hardware import describe_hardware
from msgnn_plugin.adapters.basicsr.option_rules import validation_tiling
from msgnn_plugin.adapters.basicsr.saving import SavingMixin
from msgnn_plugin.adapters.basicsr.schedules import linear_decay
from msgnn_plugin.adapters.basicsr.validation import ValidationMixin
from msgnn_plugin.archs import load_weights
from msgnn_plugin.tiling import derain

AMP_TYPES = {"bf16": torch.bfloat16, "fp16": torch.float16}


class DerainingModel(ValidationMixin, SavingMixin, SRModel):
    """Test a deraining network inside BasicSR, and hold what its trainings share.

    An iteration is a pure function of the weights before it, the optimisers' state, the options and the iteration's
    number, which is what makes resuming exact.

    Args:
        opt: BasicSR's options. In testing, a ``network_g`` that holds nothing but its type takes its settings from
            the weights.
    """

    option_keys: dict[str, Any] = {  # noqa: RUF012 - read by the schema, never changed
        "channels_last": bool,
        "train.amp": Literal["bf16", "fp16"] | None,
        "val.save_best": str | bool,
        "val.input_metrics": bool,
        "val.compare": bool,
        "val.tile": int | Literal["auto"] | None,
        "val.tile_overlap": int,
        "val.tile_database": Literal["image", "tile"],
        "val.memory": float | None,
    }
    # Dotted keys that training cannot do without, beside those that every training needs.
    needed_options: tuple[str, ...] = ()

    def __init__(self, opt: dict[str, Any]) -> None:
        if opt["is_train"] or set(opt["network_g"]) != {"type"} or not opt["path"].get("pretrain_network_g"):
            SRModel.__init__(self, opt)
        else:
            # The weights tell the settings, so the network is built from them and not loaded into a ready one.
            BaseModel.__init__(self, opt)
            self.net_g = self.model_to_device(_from_weights(opt))
            self.print_network(self.net_g)
        get_root_logger().info(f"Hardware: {describe_hardware(self.device)}")

    def model_to_device(self, net: nn.Module) -> nn.Module:
        """Move a network to its device, in the memory layout asked for, wrapped in distributed training."""
        if self.opt.get("channels_last", False):
            net = net.to(memory_format=torch.channels_last)
        return super().model_to_device(net)

    def set_up_precision(self) -> None:
        """Choose autocast's type and, for fp16, loss scaling."""
        self.amp_type = AMP_TYPES.get(self.opt["train"].get("amp"))
        self.scaler = torch.amp.GradScaler(self.device.type, enabled=self.amp_type is torch.float16)

    def autocast(self) -> torch.autocast:
        """Return the context in which networks run in training."""
        return torch.autocast(self.device.type, self.amp_type, enabled=self.amp_type is not None)

    def get_optimizer(self, optim_type: str, params: list[Tensor], lr: float, **kwargs: Any) -> torch.optim.Optimizer:
        """Build an optimiser of torch by its name; BasicSR knows Adam alone."""
        return getattr(torch.optim, optim_type)(params, lr, **kwargs)

    def setup_schedulers(self) -> None:
        """Set up schedulers: BasicSR's, and ``LinearDecayLR``."""
        scheduler = self.opt["train"]["scheduler"]
        if scheduler["type"] != "LinearDecayLR":
            super().setup_schedulers()
            return
        settings = {key: value for key, value in scheduler.items() if key != "type"}
        self.schedulers += [linear_decay(optimizer, **settings) for optimizer in self.optimizers]

    def seed_of(self, current_iter: int) -> int:
        """Return the seed of what an iteration draws on this rank."""
        return (self.opt["manual_seed"] * 1_000_003 + current_iter) * 1009 + self.opt["rank"]

    def feed_data(self, data: dict[str, Any]) -> None:
        """Take a batch; ``exemplar`` and ``gt`` may be absent."""
        super().feed_data(data)
        self.exemplar = data["exemplar"].to(self.device) if "exemplar" in data else None

    def apply_network(self, net: nn.Module, rainy: Tensor, exemplar: Tensor | None) -> Tensor:
        """Call a network with the exemplar if it takes one."""
        return net(rainy) if exemplar is None or not self._takes_exemplar() else net(rainy, exemplar)

    def _takes_exemplar(self) -> bool:
        return "exemplar" in inspect.signature(self.get_bare_model(self.net_g).forward).parameters

    def require_finite(self, values: dict[str, float], current_iter: int) -> None:
        """Stop training where a loss or a gradient's norm is not finite, before the weights are changed.

        Raises:
            RuntimeError: If one is not.
        """
        for name, value in values.items():
            if not abs(value) < float("inf"):
                good = newest_checkpoint(self.opt["path"]["training_states"])
                raise RuntimeError(
                    f"training: `{name}` must be finite, got {value} at iteration {current_iter}; stopped before the "
                    f"update. The last good state is {good or 'the start'}; lower `train.optim_g.lr`, set "
                    "`train.grad_clip` or look at the data."
                )

    def reduce_loss_dict(self, loss_dict: dict[str, Tensor]) -> OrderedDict[str, float]:
        """Average losses over the processes, for all of them: each must see another's loss that is not finite."""
        values = torch.stack([value.detach().float().mean() for value in loss_dict.values()])
        if self.opt["dist"]:
            dist.all_reduce(values)
            values /= self.opt["world_size"]
        return OrderedDict(zip(loss_dict, values.tolist(), strict=True))

    @torch.no_grad()
    def model_ema(self, decay: float = 0.999) -> None:
        """Update the averaged network; buffers, which SRModel leaves behind, are taken over as they are."""
        net = self.get_bare_model(self.net_g)
        for averaged, value in zip(self.net_g_ema.parameters(), net.parameters(), strict=True):
            averaged.mul_(decay).add_(value, alpha=1 - decay)
        for averaged, value in zip(self.net_g_ema.buffers(), net.buffers(), strict=True):
            averaged.copy_(value)

    def validated_network(self) -> nn.Module:
        """Return what is validated: the averaged network if there is one, outside of any distributed wrapper."""
        return self.net_g_ema if hasattr(self, "net_g_ema") else self.get_bare_model(self.net_g)

    def test(self) -> None:
        """Derain the batch at hand with the network that is validated.

        Raises:
            MemoryError: If the memory will not suffice, by estimate; the sentence names the tile that would fit.
        """
        net = self.validated_network()
        training = net.training
        net.eval()
        with torch.no_grad():
            exemplar = self.exemplar if self._takes_exemplar() else None
            self.output = derain(net, self.lq, exemplar, validation_tiling(self.opt))
        net.train(training)


def _from_weights(opt: dict[str, Any]) -> nn.Module:
    path, key = Path(opt["path"]["pretrain_network_g"]), opt["path"].get("param_key_g")
    weights = load_weights(path)
    arch = registered("arch")[opt["network_g"]["type"]]
    if not hasattr(arch, "from_state_dict"):
        raise ValueError(f"`network_g`: {arch.__name__} cannot be built from weights alone; give its settings.")
    get_root_logger().info(f"Building {arch.__name__} from {path}.")
    return arch.from_state_dict(copy.copy(weights[key]) if key in weights else weights)
