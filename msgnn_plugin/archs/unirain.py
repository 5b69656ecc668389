"""UniRain: one network for rain streaks and drops, by day and by night, with experts chosen for each image.

Paper: "UniRain" (CVPR 2026). Its authors released no network. What is known of it (mixtures of experts in an
encoder-decoder like Restormer's, soft in the encoder and hard in the decoder, its size) is kept, the rest is ours:
docs/unirain.md says which is which.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import torch
from torch import Tensor, nn

from msgnn_plugin.archs.settings_in_weights import SettingsInWeights
from msgnn_plugin.archs.state_dict import unwrap
from msgnn_plugin.archs.unirain_hyper import FIELDS, LEVELS, ROUTINGS, pack_hyper, unpack_hyper
from msgnn_plugin.layers.channel_norm import ChannelNorm
from msgnn_plugin.layers.experts import ExpertMixture
from msgnn_plugin.layers.gated_feed_forward import GatedFeedForward
from msgnn_plugin.layers.resize import pad_to_multiple
from msgnn_plugin.layers.transposed_attention import TransposedAttention

Routing = Literal["soft", "hard"]
# Hidden channels are rounded to a multiple of this, which vector units like.
HIDDEN_STEP = 8
# Three halvings.
SIDE_STEP = 2 ** (LEVELS - 1)


class Block(nn.Module):
    """Transposed attention, then a feed-forward net or experts, each on normalised maps and added to its input.

    Args:
        num_feat: Channels.
        num_heads: Heads of the attention.
        feed_forward: Module (B, C, H, W) -> same.
    """

    def __init__(self, num_feat: int, num_heads: int, feed_forward: nn.Module) -> None:
        super().__init__()
        self.norm1 = ChannelNorm(num_feat)
        self.attention = TransposedAttention(num_feat, num_heads)
        self.norm2 = ChannelNorm(num_feat)
        self.feed_forward = feed_forward

    def forward(self, x: Tensor) -> Tensor:
        """Shape: (B, C, H, W) -> same."""
        x = x + self.attention(self.norm1(x))
        return x + self.feed_forward(self.norm2(x))


class UniRainArch(SettingsInWeights):
    """Derain whatever the kind of rain: a U-shaped transformer of four levels with mixtures of experts.

    The last ``expert_blocks`` blocks of each level of the encoder and of the decoder, and of the refinement behind it,
    have experts in place of their feed-forward net; the lowest level, between the two, has none. Routing is by image.
    The defaults have 24.2 M parameters and 127.8 G multiply-adds at 256 x 256; the paper states 24.4 M and 126.5 G.

    Args:
        num_feat: Channels of the first level; each further one has twice as many.
        num_blocks: Blocks of the four levels, the encoder's; the decoder's three levels have as many.
        num_refinement: Blocks behind the decoder, at full size.
        num_heads: Heads of the four levels.
        ffn_factor: Hidden channels of a feed-forward net and of an expert, as a multiple of the channels, rounded to
            a multiple of 8; at most three decimals.
        num_experts: Experts of a mixture.
        top_k: How many of them an image keeps where routing is hard.
        encoder_routing: "soft", all experts weighted (Eq. 12), or "hard", the best ``top_k`` alone (Eq. 14).
        decoder_routing: The same for the decoder and the refinement.
        expert_blocks: How many blocks, from the last one, have experts; 0 is a network without.
        noise_std: Standard deviation of the routers' noise in training, on the mean of normalised maps. It is drawn
            from torch's generator and not stored in the weights.

    Raises:
        ValueError: If a setting is out of its range, with the limit.
    """

    pack_hyper = staticmethod(pack_hyper)
    unpack_hyper = staticmethod(unpack_hyper)

    def __init__(
        self,
        *,
        num_feat: int = 48,
        num_blocks: Sequence[int] = (4, 6, 6, 8),
        num_refinement: int = 4,
        num_heads: Sequence[int] = (1, 2, 4, 8),
        ffn_factor: float = 2.05,
        num_experts: int = 3,
        top_k: int = 1,
        encoder_routing: Routing = "soft",
        decoder_routing: Routing = "hard",
        expert_blocks: int = 1,
        noise_std: float = 0.1,
    ) -> None:
        super().__init__()
        settings = {name: value for name, value in locals().items() if name in FIELDS}
        settings |= {"num_blocks": tuple(num_blocks), "num_heads": tuple(num_heads)}
        _check_settings(settings, noise_std)
        self.settings = settings
        self.noise_std = noise_std
        widths = [num_feat << level for level in range(LEVELS)]
        self.embed = nn.Conv2d(3, num_feat, 3, padding=1, bias=False)
        self.encoder, self.decoder = nn.ModuleList(), nn.ModuleList()
        self.down, self.up, self.reduce = nn.ModuleList(), nn.ModuleList(), nn.ModuleList()
        for level in range(LEVELS - 1):
            width = widths[level]
            self.encoder.append(self._stage(width, num_heads[level], num_blocks[level], encoder_routing))
            self.down.append(nn.Sequential(_conv(width, width // 2), nn.PixelUnshuffle(2)))
            self.up.append(nn.Sequential(_conv(2 * width, 4 * width), nn.PixelShuffle(2)))
            # The first level keeps the maps of both sides.
            self.reduce.append(nn.Conv2d(2 * width, width, 1, bias=False) if level else nn.Identity())
            width = width if level else 2 * width
            self.decoder.append(self._stage(width, num_heads[level], num_blocks[level], decoder_routing))
        self.lowest = self._stage(widths[-1], num_heads[-1], num_blocks[-1], None)
        self.refinement = self._stage(2 * num_feat, num_heads[0], num_refinement, decoder_routing)
        self.head = _conv(2 * num_feat, 3)
        self.register_buffer("hyper", pack_hyper(settings))

    def _stage(self, width: int, num_heads: int, count: int, routing: Routing | None) -> nn.Sequential:
        """Return the blocks of one level, with experts where there is a routing."""
        settings = self.settings
        hidden = max(round(settings["ffn_factor"] * width / HIDDEN_STEP), 1) * HIDDEN_STEP
        num_experts = settings["num_experts"]
        blocks = []
        for left in range(count, 0, -1):
            if routing is not None and left <= settings["expert_blocks"]:
                feed_forward: nn.Module = ExpertMixture(
                    num_feat=width,
                    hidden=hidden,
                    num_experts=num_experts,
                    top_k=num_experts if routing == "soft" else settings["top_k"],
                    noise_std=self.noise_std,
                )
            else:
                feed_forward = GatedFeedForward(width, hidden)
            blocks.append(Block(width, num_heads, feed_forward))
        return nn.Sequential(*blocks)

    def forward(self, rainy: Tensor, exemplar: Tensor | None = None) -> Tensor:
        """Return the derained image, not clipped.

        Shape: (B, 3, H, W) -> same; RGB with range [0, 1], any H and W from 1 up. ``exemplar`` is ignored: this
        network takes none.

        Raises:
            ValueError: If the shape is wrong.
        """
        if rainy.dim() != 4 or rainy.shape[1] != 3 or 0 in rainy.shape:
            raise ValueError(f"UniRainArch: `rainy` must have shape (B, 3, H, W), got {tuple(rainy.shape)}.")
        x = self.embed(pad_to_multiple(rainy, SIDE_STEP).contiguous(memory_format=torch.channels_last))
        sides = []
        for stage, down in zip(self.encoder, self.down, strict=True):
            sides.append(stage(x))
            x = down(sides[-1])
        x = self.lowest(x)
        for level in reversed(range(LEVELS - 1)):
            x = torch.cat((self.up[level](x), sides.pop()), 1)
            x = self.decoder[level](self.reduce[level](x))
        x = self.head(self.refinement(x))
        return rainy + x[:, :, : rainy.shape[2], : rainy.shape[3]]

    def expert_loads(self) -> dict[str, list[float]]:
        """Return by the name of each mixture what share each of its experts recently had in training, sum 1."""
        mixtures = ((name, module) for name, module in self.named_modules() if isinstance(module, ExpertMixture))
        return {name.removesuffix(".feed_forward"): mixture.load.tolist() for name, mixture in mixtures}

    @classmethod
    def from_state_dict(cls, state_dict: Mapping[str, Any]) -> "UniRainArch":
        """Build the network that these weights describe, and load them.

        Args:
            state_dict: Our weights, also in a toolbox's wrapper.

        Raises:
            ValueError: If the weights carry no settings, or those of another network.
            RuntimeError: If tensors are missing or do not fit.
        """
        weights = unwrap(state_dict)
        if "hyper" not in weights:
            raise ValueError(
                "UniRainArch: `state_dict` must hold our settings buffer `hyper`, got weights without it, such as "
                f"{next(iter(weights))!r}; the authors released none, so train anew."
            )
        network = cls(**unpack_hyper(weights["hyper"]))
        network.load_state_dict(weights)
        return network


def _conv(num_in: int, num_out: int) -> nn.Conv2d:
    return nn.Conv2d(num_in, num_out, 3, padding=1, bias=False)


def _check_settings(settings: Mapping[str, Any], noise_std: float) -> None:
    """Raise ValueError at the first setting that is out of its range."""

    def require(fits: bool, name: str, rule: str, value: Any) -> None:
        if not fits:
            raise ValueError(f"UniRainArch: `{name}` must be {rule}, got {value}.")

    num_feat, heads, experts = settings["num_feat"], settings["num_heads"], settings["num_experts"]
    require(num_feat >= 2 and num_feat % 2 == 0, "num_feat", "even and at least 2", num_feat)
    for name, values, least in (("num_blocks", settings["num_blocks"], 0), ("num_heads", heads, 1)):
        fits = len(values) == LEVELS and min(values) >= least
        require(fits, name, f"{LEVELS} numbers of at least {least}", values)
    for level, number in enumerate(heads):
        width = num_feat << level
        require(
            width % number == 0, "num_heads", f"divisors of the levels' channels, {width} in level {level + 1}", heads
        )
    for name, least in (("num_refinement", 0), ("num_experts", 1), ("expert_blocks", 0)):
        require(settings[name] >= least, name, f"at least {least}", settings[name])
    factor = settings["ffn_factor"]
    fits = factor > 0 and round(1000 * factor) / 1000 == factor
    require(fits, "ffn_factor", "above 0 with at most three decimals", factor)
    require(1 <= settings["top_k"] <= experts, "top_k", f"in [1, num_experts = {experts}]", settings["top_k"])
    for name in ("encoder_routing", "decoder_routing"):
        require(settings[name] in ROUTINGS, name, "soft or hard", repr(settings[name]))
    require(0 <= noise_std < float("inf"), "noise_std", "at least 0 and finite", noise_std)
