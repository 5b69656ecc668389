"""A mixture of feed-forward experts that a router chooses for each image. UniRain (CVPR 2026), Eq. 11-14."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from msgnn_plugin.layers.gated_feed_forward import gated_hidden

# What one batch adds to the running load: about the last hundred batches count.
LOAD_MOMENTUM = 0.01


class Router(nn.Module):
    """Give every expert a weight for each image, from the mean of its maps (Eq. 11).

    In training Gaussian noise is added to that mean: added to the maps themselves it would average out.

    Args:
        num_feat: Channels of the maps.
        num_experts: Number of experts E.
        noise_std: Standard deviation of the noise.
    """

    def __init__(self, num_feat: int, num_experts: int, noise_std: float) -> None:
        super().__init__()
        self.noise_std = noise_std
        self.linear = nn.Linear(num_feat, num_experts)

    def forward(self, x: Tensor, noise: bool) -> Tensor:
        """Return weights that sum to 1. Shape: (B, C, H, W) -> (B, E), at least float32 also under autocast."""
        with torch.autocast(x.device.type, enabled=False):
            mean = x.mean((2, 3), dtype=torch.promote_types(x.dtype, torch.float32))
            if noise and self.noise_std > 0:
                mean = mean + self.noise_std * torch.randn_like(mean)
            return F.linear(mean, self.linear.weight.to(mean.dtype), self.linear.bias.to(mean.dtype)).softmax(1)


class ExpertMixture(nn.Module):
    """The weighted sum of gated feed-forward nets, all of them or for each image the ``top_k`` of largest weight.

    With ``top_k`` below ``num_experts`` (Eq. 13, 14) the other weights are set to 0 and the kept ones left as they
    are, and an expert runs on the images that chose it alone. All experts lie in one set of tensors, so that each
    tensor gets a gradient whichever ran. While being compiled, exported or traced every expert runs on every image
    instead, which gives the same numbers: which images an expert gets would depend on the data.

    Args:
        num_feat: Channels C.
        hidden: Hidden channels of each expert.
        num_experts: Number of experts E.
        top_k: How many experts an image keeps, in [1, E]; E is the soft mixture (Eq. 12).
        noise_std: Standard deviation of the router's noise in training.

    Attributes:
        load: What share each expert recently had of the training images, shape (E,), sum 1: of those that would choose
            it without noise where experts are chosen, else of the weight. A running mean, not stored with the weights.
    """

    def __init__(self, *, num_feat: int, hidden: int, num_experts: int, top_k: int, noise_std: float) -> None:
        super().__init__()
        self.num_experts = num_experts
        self.top_k = top_k
        self.router = Router(num_feat, num_experts, noise_std)
        # Not of four dimensions, which a change of memory layout would permute.
        self.expand = _uniform((num_experts, 2 * hidden, num_feat), fan_in=num_feat)
        self.depthwise = _uniform((num_experts, 2 * hidden, 9), fan_in=9)
        self.project = _uniform((num_experts, num_feat, hidden), fan_in=hidden)
        self.register_buffer("load", torch.full((num_experts,), 1 / num_experts), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """Shape: (B, C, H, W) -> same."""
        weights = self.route(x, self.training)
        if self.training:
            self._note_load(x)
        whole = torch.compiler.is_compiling() or torch.jit.is_tracing() or self.top_k == self.num_experts
        return self.run_all(x, weights) if whole else self.run_chosen(x, weights)

    def route(self, x: Tensor, noise: bool = False) -> Tensor:
        """Return the weight of every expert, (B, C, H, W) -> (B, E): of each row ``top_k`` are not 0."""
        weights = self.router(x, noise)
        if self.top_k == self.num_experts:
            return weights
        kept, index = weights.topk(self.top_k, dim=1)
        return torch.zeros_like(weights).scatter(1, index, kept)

    def run_all(self, x: Tensor, weights: Tensor) -> Tensor:
        """Run every expert on every image. Shapes: (B, C, H, W), (B, E) -> (B, C, H, W)."""
        return sum(self._run(expert, x, weights[:, expert]) for expert in range(self.num_experts))

    def run_chosen(self, x: Tensor, weights: Tensor) -> Tensor:
        """Run every expert on the images where its weight is not 0. Shapes as `run_all`."""
        total = torch.zeros_like(x)
        # One wait for a GPU, and not one an expert.
        for expert, chosen in enumerate((weights.detach() != 0).T.tolist()):
            images = [image for image, wanted in enumerate(chosen) if wanted]
            if len(images) == len(x):
                total = total + self._run(expert, x, weights[:, expert])
            elif images:
                index = torch.tensor(images, device=x.device)
                # Channels last, for indexing keeps no other layout than that of its dimensions.
                picked = x.permute(0, 2, 3, 1).index_select(0, index).permute(0, 3, 1, 2)
                part = self._run(expert, picked, weights[index, expert]).to(total.dtype)
                total = total.permute(0, 2, 3, 1).index_add(0, index, part.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)
        return total

    def _run(self, expert: int, x: Tensor, weight: Tensor) -> Tensor:
        expand, project = (weight[expert][:, :, None, None] for weight in (self.expand, self.project))
        derived = F.conv2d(gated_hidden(x, expand, self.depthwise[expert].view(-1, 1, 3, 3)), project)
        return derived * weight.to(derived.dtype)[:, None, None, None]

    @torch.no_grad()
    def _note_load(self, x: Tensor) -> None:
        # Noise would hide that all images agree.
        weights = self.route(x)
        share = weights if self.top_k == self.num_experts else (weights != 0).to(weights.dtype) / self.top_k
        self.load.lerp_(share.mean(0).to(self.load.dtype), LOAD_MOMENTUM)


def _uniform(shape: tuple[int, ...], fan_in: int) -> nn.Parameter:
    """Return weights drawn as those of a convolution of its own are."""
    return nn.Parameter(torch.empty(shape).uniform_(-(fan_in**-0.5), fan_in**-0.5))
