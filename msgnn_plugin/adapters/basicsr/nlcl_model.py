"""`NLCLModel`: unsupervised training of NLCL and its asymmetric successor.

Imports BasicSR, so it is itself imported only by `registration.register`, after the mends.
"""

from collections import OrderedDict
from collections.abc import Iterable, Sequence
from typing import Any, Literal

import torch
import torch.distributed as dist
from basicsr.archs import build_network
from basicsr.losses import build_loss
from torch import Tensor, nn
from torch.nn import functional as F
from torch.optim import Optimizer

from msgnn_plugin.adapters.basicsr.components import Component
from msgnn_plugin.adapters.basicsr.deraining_model import DerainingModel
from msgnn_plugin.adapters.basicsr.saving import on_cpu
from msgnn_plugin.layers.projection import ProjectionHeads, gather_pixels
from msgnn_plugin.losses import AsymmetricLayerContrastiveLoss
from msgnn_plugin.metrics import layer_dimensions
from msgnn_plugin.ops import draw_anchors, self_similar_patches

LOCATION_PLACES = (0, 2, 4, 8, 12)
HEADS = ("location", "background", "rain")
# Weight of the newest estimate of the layers' dimensions in what is kept of them.
NEWEST = 0.3


class NLCLModel(DerainingModel):
    """Train generators of the clean image and of the rain from unpaired rainy and clean pictures.

    Paper: Ye et al., "Unsupervised Deraining: Where Contrastive Learning Meets Self-similarity" (CVPR 2022); the terms
    are those of the released code, in which ``network_g`` is called Back, ``network_r`` Rain. Of an iteration first the
    critic learns, then with the new critic the generators and the projection heads. The released code's slips are left
    out (all three heads learn, any batch and crop size works) unless ``official_faults`` asks for them.

    Args:
        opt: BasicSR's options. Beyond SRModel's it reads `option_keys`. A weight of 0, or a loss left out, leaves that
            term uncomputed.
    """

    option_keys: dict[str, Any] = {  # noqa: RUF012 - read by the schema, never changed
        **DerainingModel.option_keys,
        "train.grad_clip": float | None,
        "train.adversarial_weight": float,
        "train.consistency_weight": float,
        "train.sparsity_weight": float,
        "train.location_opt": Component("loss"),
        "train.location_places": list[int],
        "train.layer_opt": Component("loss"),
        "train.layer_features": Literal["official", "intended"],
        "train.official_faults": bool,
        "train.dimension_freq": int,
    }
    needed_options = ("network_r", "network_d", "datasets.train.dataroot_clean")

    def model_to_device(self, net: nn.Module) -> nn.Module:
        """Move a network to its device; several processes start from the first one's weights.

        Networks are not wrapped in DistributedDataParallel, which follows one `forward` a step: here parts of networks
        run, some twice. `_step` averages gradients instead.
        """
        net = net.to(self.device)
        if self.opt.get("channels_last", False):
            net = net.to(memory_format=torch.channels_last)
        if self.opt["dist"]:
            for value in net.state_dict().values():
                dist.broadcast(value, src=0)
        return net

    def init_training_settings(self) -> None:
        """Build the other networks, the heads, losses and optimisers."""
        train = self.opt["train"]
        self.net_g.train()
        self.net_r = self._build("r")
        self.net_d = self._build("d")
        self.ema_decay = train.get("ema_decay", 0)
        if self.ema_decay > 0:
            self.net_g_ema = build_network(self.opt["network_g"]).to(self.device).requires_grad_(False).eval()
            self._load(self.net_g_ema, "g", "params_ema")
            if self.opt["path"].get("pretrain_network_g") is None:
                self.model_ema(0)
        self.weights_of_terms = {
            name: train.get(f"{name}_weight", default)
            for name, default in (("adversarial", 1.0), ("consistency", 1.0), ("sparsity", 0.1))
        }
        self.cri_location = build_loss(train["location_opt"]).to(self.device) if train.get("location_opt") else None
        self.cri_layer = build_loss(train["layer_opt"]).to(self.device) if train.get("layer_opt") else None
        self.places = self._location_places()
        self.intended = train.get("layer_features", "official") == "intended"
        self.official_faults = train.get("official_faults", False)
        if self.official_faults and train.get("amp") == "fp16":
            raise ValueError(
                "`train.official_faults` must be false with `train.amp` fp16, since two optimisers share weights whose "
                "gradients can be unscaled only once, got true."
            )
        self.dimension_freq = train.get("dimension_freq", 500)
        self.dimensions: list[float] = []
        self.grad_clip = train.get("grad_clip")
        self.heads = self.model_to_device(self._build_heads())
        self.set_up_precision()
        self._set_up_optimizers()
        self.setup_schedulers()
        self.set_up_record()

    def _build(self, label: str) -> nn.Module:
        net = self.model_to_device(build_network(self.opt[f"network_{label}"]))
        self.print_network(net)
        self._load(net, label, self.opt["path"].get(f"param_key_{label}", "params"))
        return net.train()

    def _load(self, net: nn.Module, label: str, key: str | None) -> None:
        path = self.opt["path"]
        if path.get(f"pretrain_network_{label}") is not None:
            self.load_network(net, path[f"pretrain_network_{label}"], path.get(f"strict_load_{label}", True), key)

    def _location_places(self) -> tuple[int, ...]:
        places = tuple(self.opt["train"].get("location_places", LOCATION_PLACES))
        most = len(self.net_g.blocks)
        if list(places) != sorted(set(places)) or not places or places[0] < 0 or places[-1] > most:
            raise ValueError(
                f"`train.location_places` must be increasing numbers in [0, {most}], as `network_g` has {most} blocks, "
                f"got {list(places)}."
            )
        return places

    def _build_heads(self) -> nn.ModuleDict:
        critic = self.opt["network_d"].get("num_feat", 64)
        widths = [critic << level for level in range(4)]
        widths = widths if self.intended else [3, *widths[:3]]
        location = [self.net_g.stem.out_channels] * len(self.places)
        return nn.ModuleDict(
            {
                "location": ProjectionHeads(location),
                "background": ProjectionHeads(widths),
                "rain": ProjectionHeads(widths),
            }
        )

    def _set_up_optimizers(self) -> None:
        """Generators, critic, heads: one optimiser each, set as ``optim_g`` unless they have settings of their own."""
        train = self.opt["train"]

        def build(label: str, modules: Iterable[nn.Module]) -> Optimizer:
            settings = dict(train.get(f"optim_{label}") or train["optim_g"])
            parameters = [parameter for module in modules for parameter in module.parameters()]
            return self.get_optimizer(settings.pop("type"), parameters, **settings)

        self.optimizer_g = build("g", (self.net_g, self.net_r))
        self.optimizer_d = build("d", (self.net_d,))
        learning = HEADS
        if self.official_faults:
            # As released, the optimiser of the background's heads holds the rain's, and the location's never steps.
            learning = ("rain", "rain")
            for name in ("location", "background"):
                self.heads[name].requires_grad_(False)
        self.head_optimizers = [build("h", (self.heads[name],)) for name in learning]
        self.optimizers += [self.optimizer_g, self.optimizer_d, *self.head_optimizers]

    def feed_data(self, data: dict[str, Any]) -> None:
        """Take a batch: in training ``lq`` and the unpaired ``clean``."""
        super().feed_data(data)
        if "clean" in data:
            self.clean = data["clean"].to(self.device)

    def optimize_parameters(self, current_iter: int) -> None:
        """Do one iteration: a step of the critic, then one of generators and heads.

        Raises:
            RuntimeError: If a loss or, without loss scaling, a gradient is not finite; what was to be changed by it is
                as before.
        """
        seed = self.seed_of(current_iter)
        torch.manual_seed(seed)
        self.anchors = torch.Generator().manual_seed(seed)
        rainy, clean = 2 * self.lq - 1, 2 * self.clean - 1
        batch = len(rainy)
        with self.autocast():
            both, kept = self.net_g.translate_with_features(torch.cat((rainy, clean)), self._kept_places())
            rain = self.net_r.translate(rainy)
        background = both[:batch]
        losses = self._learn_to_judge(background.detach(), clean, current_iter)
        terms = self._terms(rainy, background, rain, current_iter)
        if self.cri_location is not None:
            terms["l_location"] = self._location_term(torch.cat((rainy, clean)), both, kept)
        self._measure_dimensions(background, rain, current_iter)
        total = torch.stack([value.float() for value in terms.values()]).sum()
        optimizers = [self.optimizer_g, *self.head_optimizers]
        self.log_dict = self._step(total, optimizers, {**losses, **terms}, current_iter)
        self.scaler.update()
        self.log_dict.update(zip(("dimension_background", "dimension_rain"), self.dimensions, strict=False))
        if self.ema_decay > 0:
            self.model_ema(decay=self.ema_decay)

    def _kept_places(self) -> tuple[int, ...]:
        return self.places if self.cri_location is not None else ()

    def _learn_to_judge(self, background: Tensor, clean: Tensor, current_iter: int) -> dict[str, Tensor]:
        """Step the critic by the least-squares loss; 0 for what the generator made, 1 for clean pictures."""
        if not self.weights_of_terms["adversarial"]:
            return {}
        self.net_d.requires_grad_(True)
        with self.autocast():
            made, real = self.net_d.judge(background), self.net_d.judge(clean)
        losses = {"d_made": made.float().square().mean(), "d_real": (real.float() - 1).square().mean()}
        self._step((losses["d_made"] + losses["d_real"]) / 2, [self.optimizer_d], losses, current_iter)
        return losses

    def _terms(self, rainy: Tensor, background: Tensor, rain: Tensor, current_iter: int) -> dict[str, Tensor]:
        """Return the terms that look at the layers themselves or through the critic, weighted."""
        self.net_d.requires_grad_(False)
        weights, terms = self.weights_of_terms, {}
        if weights["adversarial"]:
            with self.autocast():
                score = self.net_d.judge(background)
            terms["l_adversarial"] = weights["adversarial"] * (score.float() - 1).square().mean()
        if weights["consistency"]:
            terms["l_consistency"] = weights["consistency"] * F.mse_loss((background + rain).float(), rainy)
        if weights["sparsity"]:
            terms["l_sparsity"] = weights["sparsity"] * F.l1_loss(background.float(), rainy)
        if self.cri_layer is not None:
            terms["l_layer"] = self._layer_term(background, rain)
        return terms

    def _location_term(self, inputs: Tensor, outputs: Tensor, kept: Sequence[Tensor]) -> Tensor:
        """Contrast places of the generator's results with the same places of what it was given: rainy, then clean."""
        size = inputs.shape[2], inputs.shape[3]
        centres = self._similar(kept[0], self.cri_location.num_patches)
        with self.autocast():
            made = self.net_g.features(outputs, self.places)
            project = self.heads["location"]
            queries = project([gather_pixels(each, centres, size) for each in made])
            with torch.no_grad():
                keys = project([gather_pixels(each, centres, size) for each in kept])
        batch = len(inputs) // 2
        parts = [
            [each[part] for each in side] for part in (slice(batch), slice(batch, None)) for side in (queries, keys)
        ]
        return self.cri_location(*parts)

    def _layer_term(self, background: Tensor, rain: Tensor) -> Tensor:
        """Contrast patches of the predicted layers with each other, through the critic."""
        size = background.shape[2], background.shape[3]
        sides = []
        counts = self.cri_layer.num_background, self.cri_layer.num_rain
        for name, layer, count in zip(HEADS[1:], (background, rain), counts, strict=True):
            centres = self._similar(layer, count)
            with self.autocast():
                maps = self.net_d.features(layer)
                maps = maps if self.intended else [layer, *maps[:3]]
                sides.append(self.heads[name]([gather_pixels(each, centres, size) for each in maps]))
        return self.cri_layer(*sides)

    def _similar(self, images: Tensor, count: int) -> Tensor:
        """Return the centres of ``count`` patches like an anchor that is drawn for each image."""
        size = images.shape[2], images.shape[3]
        anchors = draw_anchors(len(images), size, self.anchors).to(self.device)
        return self_similar_patches(images.detach().float(), anchors, num_neighbors=count)[0]

    def _measure_dimensions(self, background: Tensor, rain: Tensor, current_iter: int) -> None:
        """Estimate both layers' intrinsic dimensions now and then; the asymmetric loss takes its sides by them."""
        if not self.dimension_freq or current_iter % self.dimension_freq:
            return
        measured = layer_dimensions(background.detach().float(), rain.detach().float(), seed=self.seed_of(current_iter))
        if self.opt["dist"]:
            shared = torch.tensor(measured, device=self.device)
            dist.all_reduce(shared)
            measured = (shared / self.opt["world_size"]).tolist()
        before = self.dimensions or measured
        self.dimensions = [NEWEST * new + (1 - NEWEST) * old for new, old in zip(measured, before, strict=True)]
        if isinstance(self.cri_layer, AsymmetricLayerContrastiveLoss):
            self.cri_layer.orient(*self.dimensions)

    def _step(
        self, loss: Tensor, optimizers: list[Optimizer], logged: dict[str, Tensor], current_iter: int
    ) -> OrderedDict[str, float]:
        """Step optimisers by a loss; return what is logged, averaged over the processes."""
        values = self.reduce_loss_dict(OrderedDict(logged))
        self.require_finite(values, current_iter)
        for optimizer in optimizers:
            optimizer.zero_grad()
        self.scaler.scale(loss).backward()
        parameters = {p: None for optimizer in optimizers for group in optimizer.param_groups for p in group["params"]}
        gradients = [p.grad for p in parameters if p.grad is not None]
        for gradient in gradients if self.opt["dist"] else ():
            dist.all_reduce(gradient)
            gradient /= self.opt["world_size"]
        for optimizer in dict.fromkeys(optimizers):
            self.scaler.unscale_(optimizer)
        if not self.scaler.is_enabled():
            norm = torch.nn.utils.get_total_norm(gradients)
            self.require_finite({"gradient norm": norm.item()}, current_iter)
            if self.grad_clip is not None:
                torch.nn.utils.clip_grads_with_norm_(parameters, self.grad_clip, norm)
        for optimizer in optimizers:
            self.scaler.step(optimizer)
        return values

    def weight_files(self) -> dict[str, dict[str, Any]]:
        """Return the weights of both generators and the critic."""
        return {
            "net_r": {"params": on_cpu(self.net_r)},
            "net_d": {"params": on_cpu(self.net_d)},
            **super().weight_files(),
        }

    def more_state(self) -> dict[str, Any]:
        """Return the heads, the asymmetric loss' sides and the dimensions they were taken by."""
        layer = {} if self.cri_layer is None else on_cpu(self.cri_layer)
        return {"heads": on_cpu(self.heads), "layer_loss": layer, "dimensions": self.dimensions}

    def resume_training(self, resume_state: dict[str, Any]) -> None:
        """Take up, besides what every model does, the heads and the asymmetric loss' sides."""
        self.heads.load_state_dict(resume_state["heads"])
        if self.cri_layer is not None:
            self.cri_layer.load_state_dict(resume_state["layer_loss"])
        self.dimensions = list(resume_state["dimensions"])
        super().resume_training(resume_state)
