"""`MSGNNModel`: training by pairs with an exemplar, in mixed precision, by parts of a batch.

Imports BasicSR, so it is itself imported only by `registration.register`, after the mends.
"""

import contextlib
from collections import OrderedDict
from collections.abc import Iterator
from typing import Any

import torch
from basicsr.losses import build_loss
from torch import Tensor
from torch.nn.parallel import DistributedDataParallel

from msgnn_plugin.adapters.basicsr.bank import BANK_SIZE, bank_of_training_set
from msgnn_plugin.adapters.basicsr.components import Component
from msgnn_plugin.adapters.basicsr.deraining_model import DerainingModel


class MSGNNModel(DerainingModel):
    """Train and test a network by pairs, with an exemplar where it takes one.

    Args:
        opt: BasicSR's options. Beyond SRModel's it reads `option_keys`.
    """

    option_keys: dict[str, Any] = {  # noqa: RUF012 - read by the schema, never changed
        **DerainingModel.option_keys,
        "train.accumulate": int,
        "train.grad_clip": float | None,
        "train.compile": bool,
        "train.exemplar_bank": int,
        "train.exemplar_bank_size": int | None,
        "train.extra_pixel_opt": Component("loss"),
    }

    def init_training_settings(self) -> None:
        """Set up losses, optimiser and what `option_keys` adds."""
        super().init_training_settings()
        train = self.opt["train"]
        self._fill_bank(train.get("exemplar_bank", 0), train.get("exemplar_bank_size") or BANK_SIZE)
        extra = train.get("extra_pixel_opt")
        self.cri_extra = build_loss(extra).to(self.device) if extra else None
        self.set_up_precision()
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

    def optimize_parameters(self, current_iter: int) -> None:
        """Do one iteration: the batch in parts, one step.

        Raises:
            RuntimeError: If the loss or, without loss scaling, a gradient is not finite. The weights are as before.
        """
        # Whatever the network draws (dropout of third parties) depends on the iteration alone, also after resuming.
        torch.manual_seed(self.seed_of(current_iter))
        self.optimizer_g.zero_grad()
        losses: OrderedDict[str, Tensor] = OrderedDict()
        for rainy, clean, exemplar in self._parts():
            with self.autocast():
                self.output = self.apply_network(self.train_net, rainy, exemplar)
            part_losses = self._losses(self.output.float(), clean)
            self.scaler.scale(sum(part_losses.values()) / self.num_parts).backward()
            for name, value in part_losses.items():
                losses[name] = losses.get(name, 0) + value.detach() / self.num_parts
        self.log_dict = self.reduce_loss_dict(losses)
        self.require_finite(self.log_dict, current_iter)
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
            self.require_finite({"gradient norm": self.log_dict["grad_norm"]}, current_iter)
        if self.grad_clip is not None:
            torch.nn.utils.clip_grads_with_norm_(self.get_bare_model(self.net_g).parameters(), self.grad_clip, norm)
        self.scaler.step(self.optimizer_g)
        self.scaler.update()
