"""`MSGNNModel`: BasicSR's SRModel with an exemplar, mixed precision, accumulation, exact resume, the best weights kept.

Imports BasicSR, so it is itself imported only by `registration.register`, after the mends.
"""

import contextlib
import copy
import inspect
from collections import OrderedDict
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import torch
import torch.distributed as dist
from basicsr.losses import build_loss
from basicsr.models.base_model import BaseModel
from basicsr.models.sr_model import SRModel
from basicsr.utils import get_root_logger
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from msgnn_plugin.adapters.basicsr.bank import BANK_SIZE, bank_of_training_set
from msgnn_plugin.adapters.basicsr.checkpoints import newest_checkpoint
from msgnn_plugin.adapters.basicsr.components import Component, registered
from msgnn_plugin.adapters.basicsr.option_rules import validation_tiling
from msgnn_plugin.adapters.basicsr.saving import SavingMixin
from msgnn_plugin.adapters.basicsr.validation import ValidationMixin
from msgnn_plugin.archs import load_weights
from msgnn_plugin.tiling import derain

AMP_TYPES = {"bf16": torch.bfloat16, "fp16": torch.float16}


class MSGNNModel(ValidationMixin, SavingMixin, SRModel):
    """Train and test a deraining network inside BasicSR.

    Beyond SRModel's options it reads `option_keys`. An iteration is a pure function of the weights before it, the
    optimiser's state, the options and the iteration's number, which is what makes resuming exact.

    Args:
        opt: BasicSR's options. In testing, a ``network_g`` that holds nothing but its type takes its settings from
            the weights.
    """

    option_keys: dict[str, Any] = {  # noqa: RUF012 - read by the schema, never changed
        "channels_last": bool,
        "train.amp": Literal["bf16", "fp16"] | None,
        "train.accumulate": int,
        "train.grad_clip": float | None,
        "train.compile": bool,
        "train.exemplar_bank": int,
        "train.exemplar_bank_size": int | None,
        "train.extra_pixel_opt": Component("loss"),
        "val.save_best": str | bool,
        "val.input_metrics": bool,
        "val.compare": bool,
        "val.tile": int | Literal["auto"] | None,
        "val.tile_overlap": int,
        "val.tile_database": Literal["image", "tile"],
        "val.memory": float | None,
    }

    def __init__(self, opt: dict[str, Any]) -> None:
        if opt["is_train"] or set(opt["network_g"]) != {"type"} or not opt["path"].get("pretrain_network_g"):
            SRModel.__init__(self, opt)
        else:
            # The weights tell the settings, so the network is built from them and not loaded into a ready one.
            BaseModel.__init__(self, opt)
            self.net_g = self.model_to_device(_from_weights(opt))
            self.print_network(self.net_g)

    def model_to_device(self, net: nn.Module) -> nn.Module:
        """Move a network to its device, in the memory layout asked for, wrapped in distributed training."""
        if self.opt.get("channels_last", False):
            net = net.to(memory_format=torch.channels_last)
        return super().model_to_device(net)

    def get_optimizer(self, optim_type: str, params: list[Tensor], lr: float, **kwargs: Any) -> torch.optim.Optimizer:
        """Build an optimiser of torch by its name; BasicSR knows Adam alone."""
        return getattr(torch.optim, optim_type)(params, lr, **kwargs)

    def init_training_settings(self) -> None:
        """Set up losses, optimiser and what `option_keys` adds."""
        super().init_training_settings()
        train = self.opt["train"]
        self._fill_bank(train.get("exemplar_bank", 0), train.get("exemplar_bank_size") or BANK_SIZE)
        extra = train.get("extra_pixel_opt")
        self.cri_extra = build_loss(extra).to(self.device) if extra else None
        self.amp_type = AMP_TYPES.get(train.get("amp"))
        self.scaler = torch.amp.GradScaler(self.device.type, enabled=self.amp_type is torch.float16)
        self.num_parts = train.get("accumulate", 1)
        self.grad_clip = train.get("grad_clip")
        # A second face of the same weights: what is saved and validated stays the plain network.
        self.train_net = torch.compile(self.net_g) if train.get("compile", False) else self.net_g
        self.set_up_record()

    def _fill_bank(self, count: int, size: int) -> None:
        """Give the weights their bank of exemplars; weights that were loaded with one, as in resuming, keep it."""
        net = self.get_bare_model(self.net_g)
        if count == 0 or len(net.exemplar_bank):
            return
        images = bank_of_training_set(self.opt["datasets"]["train"], count, size)
        for each in (net, getattr(self, "net_g_ema", net)):
            each.set_exemplar_bank(images)

    def feed_data(self, data: dict[str, Any]) -> None:
        """Take a batch; ``exemplar`` and ``gt`` may be absent."""
        super().feed_data(data)
        self.exemplar = data["exemplar"].to(self.device) if "exemplar" in data else None

    def apply_network(self, net: nn.Module, rainy: Tensor, exemplar: Tensor | None) -> Tensor:
        """Call a network with the exemplar if it takes one."""
        return net(rainy) if exemplar is None or not self._takes_exemplar() else net(rainy, exemplar)

    def _takes_exemplar(self) -> bool:
        return "exemplar" in inspect.signature(self.get_bare_model(self.net_g).forward).parameters

    def optimize_parameters(self, current_iter: int) -> None:
        """Do one iteration: the batch in parts, one step.

        Raises:
            RuntimeError: If the loss or, without loss scaling, a gradient is not finite. The weights are as before.
        """
        # Whatever the network draws (dropout of third parties) depends on the iteration alone, also after resuming.
        torch.manual_seed((self.opt["manual_seed"] * 1_000_003 + current_iter) * 1009 + self.opt["rank"])
        self.optimizer_g.zero_grad()
        losses: OrderedDict[str, Tensor] = OrderedDict()
        for rainy, clean, exemplar in self._parts():
            with torch.autocast(self.device.type, self.amp_type, enabled=self.amp_type is not None):
                self.output = self.apply_network(self.train_net, rainy, exemplar)
            part_losses = self._losses(self.output.float(), clean)
            self.scaler.scale(sum(part_losses.values()) / self.num_parts).backward()
            for name, value in part_losses.items():
                losses[name] = losses.get(name, 0) + value.detach() / self.num_parts
        self.log_dict = self.reduce_loss_dict(losses)
        self._require_finite(self.log_dict, current_iter)
        self._step(current_iter)
        if self.ema_decay > 0:
            self.model_ema(decay=self.ema_decay)

    def _parts(self) -> Iterator[tuple[Tensor, Tensor, Tensor | None]]:
        """Yield the batch in equal parts, exchanging gradients between processes at the last one only."""
        exemplars = [None] * self.num_parts if self.exemplar is None else self.exemplar.chunk(self.num_parts)
        parts = list(zip(self.lq.chunk(self.num_parts), self.gt.chunk(self.num_parts), exemplars, strict=True))
        for number, part in enumerate(parts, 1):
            waiting = number < self.num_parts and isinstance(self.net_g, DistributedDataParallel)
            with self.net_g.no_sync() if waiting else contextlib.nullcontext():
                yield part

    def _losses(self, derained: Tensor, clean: Tensor) -> dict[str, Tensor]:
        losses = {}
        if self.cri_pix:
            losses["l_pix"] = self.cri_pix(derained, clean)
        if self.cri_extra:
            losses["l_extra"] = self.cri_extra(derained, clean)
        if self.cri_perceptual:
            perceptual, style = self.cri_perceptual(derained, clean)
            losses |= {"l_percep": perceptual} if perceptual is not None else {}
            losses |= {"l_style": style} if style is not None else {}
        return losses

    def _step(self, current_iter: int) -> None:
        self.scaler.unscale_(self.optimizer_g)
        gradients = [p.grad for p in self.get_bare_model(self.net_g).parameters() if p.grad is not None]
        norm = torch.nn.utils.get_total_norm(gradients)
        self.log_dict["grad_norm"] = norm.item()
        if not self.scaler.is_enabled():
            # With loss scaling an overflow is ordinary: the scaler skips that step and lowers its factor.
            self._require_finite({"gradient norm": self.log_dict["grad_norm"]}, current_iter)
        if self.grad_clip is not None:
            torch.nn.utils.clip_grads_with_norm_(self.get_bare_model(self.net_g).parameters(), self.grad_clip, norm)
        self.scaler.step(self.optimizer_g)
        self.scaler.update()

    def _require_finite(self, values: dict[str, float], current_iter: int) -> None:
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

    def test(self) -> None:
        """Derain the batch at hand with the averaged network if there is one, outside of any distributed wrapper.

        Raises:
            MemoryError: If the memory will not suffice, by estimate; the sentence names the tile that would fit.
        """
        net = self.net_g_ema if hasattr(self, "net_g_ema") else self.get_bare_model(self.net_g)
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
