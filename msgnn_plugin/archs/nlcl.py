"""NLCL: unsupervised deraining by non-local contrastive learning; its generators and its critic.

Paper: Ye et al., "Unsupervised Deraining: Where Contrastive Learning Meets Self-similarity" (CVPR 2022). One generator
predicts the clean image from the rainy one, another of the same kind the rain. Callers see images in [0, 1];
`translate` and `features` work on the authors' range [-1, 1], in which the losses are defined.
"""

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from msgnn_plugin.archs import nlcl_lean
from msgnn_plugin.archs.nlcl_lean import NORM_EPS
from msgnn_plugin.archs.nlcl_official import convert_official, is_official
from msgnn_plugin.archs.state_dict import unwrap

LEVELS = 3  # halvings of the critic
LEAST_SIDE = 32
CRITIC_SLOPE = 0.2


class ResidualBlock(nn.Module):
    """Convolution, instance norm, ReLU, convolution, instance norm, added to the input; nothing after the sum.

    Args:
        num_feat: Channels.
    """

    def __init__(self, num_feat: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(num_feat, num_feat, 3, padding=1)
        self.conv2 = nn.Conv2d(num_feat, num_feat, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        """Shape: (B, C, H, W) -> the same."""
        return x + instance_norm(self.conv2(F.relu(instance_norm(self.conv1(x)))))


class NLCLGenerator(nn.Module):
    """Predict one layer of a rainy image: the clean one, or the rain. No down-sampling, any size.

    Paper: Ye et al. (CVPR 2022). Instance norm looks at the whole image, so a crop's result is not a crop of the whole
    image's.

    Args:
        num_feat: Channels of every map.
        num_blocks: Residual blocks.

    Raises:
        ValueError: If a setting is out of its range, with the limit.
    """

    def __init__(self, *, num_feat: int = 32, num_blocks: int = 16) -> None:
        super().__init__()
        for name, value in (("num_feat", num_feat), ("num_blocks", num_blocks)):
            if value < 1:
                raise ValueError(f"NLCLGenerator: `{name}` must be at least 1, got {value}.")
        self.stem = nn.Conv2d(3, num_feat, 3, padding=1)
        self.blocks = nn.ModuleList(ResidualBlock(num_feat) for _ in range(num_blocks))
        self.neck = nn.ModuleList(nn.Conv2d(num_feat, num_feat, 3, padding=1) for _ in range(2))
        self.head = nn.Conv2d(num_feat, 3, 3, padding=1)

    @classmethod
    def from_official(cls, state_dict: Mapping[str, Any]) -> "NLCLGenerator":
        """Build the generator that the authors' released weights describe.

        Args:
            state_dict: Their ``latest_net_Back.pth`` or ``latest_net_Rain.pth``, also in a toolbox's wrapper.

        Raises:
            ValueError: If these are not weights of that network.
        """
        return cls._build(convert_official(unwrap(state_dict)))

    @classmethod
    def from_state_dict(cls, state_dict: Mapping[str, Any]) -> "NLCLGenerator":
        """Build the generator from weights alone.

        Args:
            state_dict: Weights of this class or of the authors', also in a toolbox's wrapper.

        Raises:
            ValueError: If these are not weights of this network.
        """
        weights = unwrap(state_dict)
        return cls._build(convert_official(weights) if is_official(weights) else weights)

    @classmethod
    def _build(cls, weights: Mapping[str, Tensor]) -> "NLCLGenerator":
        stem = weights.get("stem.weight")
        blocks = {name.split(".")[1] for name in weights if name.startswith("blocks.")}
        if stem is None or stem.dim() != 4 or not blocks:
            raise ValueError(
                "NLCLGenerator.from_state_dict: `state_dict` must hold `stem.weight` and `blocks.*`, "
                f"got tensors such as {next(iter(weights))!r}."
            )
        network = cls(num_feat=stem.shape[0], num_blocks=len(blocks))
        try:
            network.load_state_dict(weights)
        except RuntimeError as error:
            reason = " ".join(str(error).split())
            raise ValueError(f"NLCLGenerator.from_state_dict: `state_dict` must be complete, got: {reason}") from error
        return network

    def forward(self, rainy: Tensor, exemplar: Tensor | None = None) -> Tensor:
        """Return the layer that the weights predict; of a rain generator 0.5 is no rain.

        Shape: (B, 3, H, W), RGB with range [0, 1] -> the same. ``exemplar`` is ignored: this network takes none.
        """
        return _to_image(self.translate(2 * rainy - 1))

    @torch.no_grad()
    def forward_tiled(self, rainy: Tensor, tile: int) -> Tensor:
        """Return `forward`'s result with little memory: both maps lie in a file, or beside a GPU in the CPU's memory.

        Every layer goes over the whole picture, since instance norm looks at all of it, so the result is that of
        `forward` up to rounding, and nothing overlaps. It costs the file's traffic: two maps of 4 * num_feat bytes a
        pixel, read and written in every layer. The file is in the system's folder for temporary files (``TMPDIR``).

        Args:
            rainy: Shape (B, 3, H, W), RGB with range [0, 1].
            tile: A step takes rows of the picture of at most tile x tile pixels, a row at least.

        Returns:
            The layer, shape (B, 3, H, W), without gradients.

        Raises:
            OSError: If there is no room for the file.
        """
        return _to_image(nlcl_lean.translate_lean(self, 2 * rainy - 1, tile))

    def estimate_bytes(self, size: tuple[int, int], *, tile: int | None = None) -> int:
        """Return about how many bytes one picture takes beside the process as it is.

        Args:
            size: Height and width of the picture in pixels.
            tile: As `forward_tiled` takes it; None or a larger one than the picture's sides means `forward`.
        """
        return nlcl_lean.estimate_bytes(self, size, tile)

    def translate(self, scaled: Tensor) -> Tensor:
        """Return the layer as the losses see it. Shape: (B, 3, H, W), RGB with range [-1, 1] -> same, not clipped."""
        if nlcl_lean.runs_lean(self, scaled):
            return nlcl_lean.translate_lean(self, scaled)
        return self.translate_with_features(scaled, ())[0]

    def translate_with_features(self, scaled: Tensor, places: Sequence[int]) -> tuple[Tensor, list[Tensor]]:
        """Return `translate`'s result and maps on the way there, which `features` describes."""
        maps = self._maps(scaled, places, last=len(self.blocks))
        x = F.relu(instance_norm(self.neck[0](maps.pop())))
        return self.head(self.neck[1](x)), maps

    def features(self, scaled: Tensor, places: Sequence[int]) -> list[Tensor]:
        """Return maps inside the network, computing no further than the last of them.

        Args:
            scaled: Images of shape (B, 3, H, W), RGB with range [-1, 1].
            places: Which, increasing: 0 is the first convolution, i the i-th residual block.

        Returns:
            One (B, num_feat, H, W) map for each place.

        Raises:
            ValueError: If a place is out of range.
        """
        return self._maps(scaled, places, last=max(places, default=0))[: len(places)]

    def _maps(self, scaled: Tensor, places: Sequence[int], last: int) -> list[Tensor]:
        """Return the maps at ``places`` and behind them the one of block ``last``."""
        if list(places) != sorted(set(places)) or not all(0 <= place <= len(self.blocks) for place in places):
            raise ValueError(
                f"NLCLGenerator: `places` must increase and lie in [0, {len(self.blocks)}], got {tuple(places)}."
            )
        x = self.stem(scaled)
        maps = [x] if 0 in places else []
        for number, block in enumerate(self.blocks[:last], 1):
            x = block(x)
            if number in places:
                maps.append(x)
        return [*maps, x]


class NLCLDiscriminator(nn.Module):
    """Judge 70x70 patches of images; half the resolution three times by an anti-aliased step (blur, then every other).

    Paper: Ye et al. (CVPR 2022), after PatchGAN (Isola et al., 2017) and Zhang, "Making Convolutional Networks
    Shift-Invariant Again" (2019).

    Args:
        num_feat: Channels of the first map; doubled at each step.
    """

    def __init__(self, *, num_feat: int = 64) -> None:
        super().__init__()
        if num_feat < 1:
            raise ValueError(f"NLCLDiscriminator: `num_feat` must be at least 1, got {num_feat}.")
        widths = [3, *(num_feat << level for level in range(LEVELS + 1)), 1]
        self.convs = nn.ModuleList(nn.Conv2d(n, m, 4, padding=1) for n, m in pairwise(widths))
        taps = torch.tensor([1.0, 2.0, 1.0]) / 4
        self.register_buffer("blur", taps[:, None] * taps, persistent=False)
        for conv in self.convs:
            nn.init.xavier_normal_(conv.weight, gain=0.02)
            nn.init.zeros_(conv.bias)

    def forward(self, image: Tensor) -> Tensor:
        """Return one score a patch, towards 1 for clean. Shape: (B, 3, H, W), range [0, 1] -> (B, 1, h, w)."""
        return self.judge(2 * image - 1)

    def judge(self, scaled: Tensor) -> Tensor:
        """Return `forward`'s scores of images of range [-1, 1]."""
        return self.convs[-1](self._activate(self._maps(scaled)[-1], LEVELS))

    def features(self, scaled: Tensor) -> list[Tensor]:
        """Return what the layer loss may look at.

        Args:
            scaled: Images of shape (B, 3, H, W), RGB with range [-1, 1].

        Returns:
            The result of the first convolution behind its activation, and of the next three before their norm: modules
            0, 3, 7 and 11 as the authors count, of widths ``num_feat`` times 1, 2, 4, 8.

        Raises:
            ValueError: If a side is below 32 pixels, where the last map would be empty.
        """
        first, *others = self._maps(scaled)
        return [F.leaky_relu(first, CRITIC_SLOPE), *others]

    def _maps(self, scaled: Tensor) -> list[Tensor]:
        if min(scaled.shape[2:]) < LEAST_SIDE:
            raise ValueError(
                f"NLCLDiscriminator: `image` must have sides of at least {LEAST_SIDE} pixels, "
                f"got {scaled.shape[3]} x {scaled.shape[2]}."
            )
        maps = [self.convs[0](scaled)]
        for level in range(LEVELS):
            maps.append(self.convs[level + 1](self._halve(self._activate(maps[-1], level))))
        return maps

    def _activate(self, x: Tensor, level: int) -> Tensor:
        return F.leaky_relu(x if level == 0 else instance_norm(x), CRITIC_SLOPE)

    def _halve(self, x: Tensor) -> Tensor:
        kernel = self.blur.expand(x.shape[1], 1, 3, 3)
        return F.conv2d(F.pad(x, (1, 1, 1, 1), mode="reflect"), kernel, stride=2, groups=x.shape[1])


def _to_image(translated: Tensor) -> Tensor:
    return (translated.clamp(-1, 1) + 1) / 2


def instance_norm(x: Tensor) -> Tensor:
    """Return each map of each image with mean 0 and variance 1. Shape: (B, C, H, W) -> the same."""
    if x.shape[2] * x.shape[3] == 1:
        return x - x  # F.instance_norm refuses a single pixel
    return F.instance_norm(x, eps=NORM_EPS)
