"""The networks as spandrel wants them: known by their weights, with what a program must know to run them."""

from collections.abc import Callable, Mapping
from typing import Any

from spandrel import Architecture, ImageModelDescriptor, ModelTiling
from torch import Tensor, nn

from msgnn_plugin.archs import MSGNNArch, NLCLGenerator, UniRainArch, family_of, from_state_dict
from msgnn_plugin.tiling import Tiling, derain

# The whole picture where the memory suffices, else tiles of ours.
TILING = Tiling(tile="auto")


class Derainer(Architecture[nn.Module]):
    """One family of networks.

    Args:
        id: Name of the system.
        family: Class of its networks.
        describe: Says of a network in a few words which one it is.
        tiles_itself: Whether its networks cut large pictures themselves, better than a program could.
    """

    def __init__(
        self, id: str, family: type[nn.Module], describe: Callable[[Any], list[str]], *, tiles_itself: bool
    ) -> None:
        super().__init__(id=id, detect=lambda state_dict: family_of(state_dict) is family)
        self.describe = describe
        self.tiles_itself = tiles_itself

    def load(self, state_dict: Mapping[str, Any]) -> ImageModelDescriptor[nn.Module]:
        """Build the network that these weights describe.

        Args:
            state_dict: Weights of this family, ours or the authors'.

        Returns:
            The network, ready to be called with one picture of shape (1, 3, H, W), RGB in [0, 1], of any size. MSGNN
            takes its exemplar as `basicsr restore` does: the one of the bank in the weights whose rain is most alike,
            or where they have none the picture itself.

        Raises:
            ValueError: If the weights are of another version or incomplete.
            RuntimeError: If tensors are missing or do not fit.
        """
        network = from_state_dict(state_dict)
        return ImageModelDescriptor(
            network,
            network.state_dict(),  # spandrel loads it once more; the authors' has other names than ours
            architecture=self,
            purpose="Restoration",
            tags=self.describe(network),
            supports_half=True,
            supports_bfloat16=True,
            scale=1,
            input_channels=3,
            output_channels=3,
            tiling=ModelTiling.INTERNAL if self.tiles_itself else ModelTiling.DISCOURAGED,
            call_fn=_caller(network, TILING if self.tiles_itself else None),
        )


def _caller(network: nn.Module, tiling: Tiling | None) -> Callable[[nn.Module, Tensor], Tensor]:
    bank = None
    if len(getattr(network, "exemplar_bank", ())):
        try:
            from msgnn_plugin.data.exemplar_bank import ExemplarBank
        except ModuleNotFoundError as error:
            raise ImportError(
                f"spandrel: `{error.name}` is not installed, and these weights carry exemplars to choose from. "
                "Run `pip install 'msgnn_plugin[data]'`."
            ) from error
        bank = ExemplarBank.of(network)

    def call(network: nn.Module, rainy: Tensor) -> Tensor:
        return derain(network, rainy, None if bank is None else bank.nearest(rainy), tiling)

    return call


def _describe_msgnn(network: MSGNNArch) -> list[str]:
    settings = network.settings
    tags = [f"{settings['num_feat']}nf", f"{settings['num_blocks']}nb", f"{settings['num_groups']}ng"]
    return [*tags, settings["variant"]]


def _describe_nlcl(network: NLCLGenerator) -> list[str]:
    tags = [f"{network.stem.out_channels}nf", f"{len(network.blocks)}nb"]
    return tags if network.reversible_norm is None else [*tags, "reversible norm"]


def _describe_unirain(network: UniRainArch) -> list[str]:
    settings = network.settings
    return [f"{settings['num_feat']}nf", f"{settings['num_experts']}e"]


# Of UniRain a tile would choose its experts and weigh its channels by what it alone shows.
DERAINERS = (
    Derainer("MSGNN", MSGNNArch, _describe_msgnn, tiles_itself=True),
    Derainer("NLCL", NLCLGenerator, _describe_nlcl, tiles_itself=True),
    Derainer("UniRain", UniRainArch, _describe_unirain, tiles_itself=False),
)
