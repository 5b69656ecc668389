"""The layer contrastive losses of NLCL: patches of one layer together, patches of two layers apart."""

import torch
from torch import Tensor, nn

from msgnn_plugin.losses.embeddings import Embeddings, as_maps, check_count, check_patches, check_temperature

DIRECTIONS = ("as_given", "auto")


class LayerContrastiveLoss(nn.Module):
    """Supervised contrast of two classes, background and rain, inside each picture.

    Paper: Ye et al., "Unsupervised Deraining: Where Contrastive Learning Meets Self-similarity" (CVPR 2022), as its
    released code computes it: for each patch the mean, over the other patches of its class, of -log softmax over all
    other patches; then the mean over all patches of both classes, so that a class weighs by its number of patches. A
    class of one patch has no positives and contributes 0. Computed in float32 under autocast too.

    Args:
        temperature: Divisor of the similarities, above 0.
        num_background: How many background patches the model is to sample; the loss itself takes any number.
        num_rain: How many rain patches the model is to sample.
        loss_weight: Factor of the loss.

    Raises:
        ValueError: If ``temperature`` or a number of patches is out of its range.
    """

    def __init__(
        self,
        *,
        temperature: float = 0.07,
        num_background: int = 8,
        num_rain: int = 128,
        loss_weight: float = 1.0,
    ) -> None:
        super().__init__()
        check_temperature("LayerContrastiveLoss", "temperature", temperature)
        check_patches("LayerContrastiveLoss", "num_background", num_background)
        check_patches("LayerContrastiveLoss", "num_rain", num_rain)
        self.temperature = temperature
        self.num_background = num_background
        self.num_rain = num_rain
        self.loss_weight = loss_weight

    def forward(self, background: Embeddings, rain: Embeddings) -> Tensor:
        """Return the mean over patches, pictures and maps.

        Args:
            background: L2-normalised embeddings of background patches, (B, N_B, D) or (N_B, D), or a list, one a map.
            rain: Those of rain patches, (B, N_R, D) or (N_R, D), or a list of as many maps.

        Returns:
            Scalar.

        Raises:
            ValueError: If batch, D or numbers of maps differ.
            TypeError: If an embedding is not a floating-point tensor.
        """
        terms = []
        for first, second in _map_pairs("LayerContrastiveLoss", background, rain):
            of_background, of_rain = class_terms(first, second, self.temperature, self.temperature)
            share = first.shape[1] / (first.shape[1] + second.shape[1])
            terms.append(share * of_background + (1 - share) * of_rain)
        return self.loss_weight * torch.stack(terms).mean()


class AsymmetricLayerContrastiveLoss(nn.Module):
    """The layer contrast with a weight, a temperature and a number of patches for each class.

    ``w_B mean_{i in B} l(i; T_B) + w_R mean_{j in R} l(j; T_R)``, where l is the term of `LayerContrastiveLoss` for one
    patch. Averaging inside each class first takes away the weight that NLCL's rain has by its number of patches alone,
    128 of 136; ``background_weight=8/136, rain_weight=128/136`` with one temperature and 8 and 128 patches is
    `LayerContrastiveLoss` exactly.

    This is our reading of NLCL's successor (Chang et al., "Unsupervised Deraining: Asymmetric Contrastive Learning",
    TPAMI 2024), whose equation and code are not public. Public is its reason: the patches of one layer vary in fewer
    directions (have a lower intrinsic dimension) than those of the other, rain's in fewer than the background's, so
    the lower-dimensional layer can be drawn together more tightly. Here it gets the larger weight and more positives.

    The defaults are ours too. The weights add up to 1, which keeps the loss on NLCL's scale; 1 to 3 stands between the
    1 to 16 of NLCL, which leaves the background almost no voice, and a plain mean. The temperatures are equal, since
    a lower one also scales the gradient and so would act as a second, hidden weight. 8 and 128 patches are NLCL's.

    Args:
        background_weight: Factor of the background's mean, at least 0.
        rain_weight: Factor of the rain's mean, at least 0.
        background_temperature: Divisor of the similarities of background patches, above 0.
        rain_temperature: Divisor of the similarities of rain patches, above 0.
        num_background: How many background patches the model is to sample; the loss itself takes any number.
        num_rain: How many rain patches the model is to sample.
        direction: "as_given" keeps these values with the layers they name. "auto" lets `orient` exchange them.
        loss_weight: Factor of the loss.

    Raises:
        ValueError: If a value is out of its range.
    """

    exchanged: Tensor

    def __init__(
        self,
        *,
        background_weight: float = 0.25,
        rain_weight: float = 0.75,
        background_temperature: float = 0.07,
        rain_temperature: float = 0.07,
        num_background: int = 8,
        num_rain: int = 128,
        direction: str = "as_given",
        loss_weight: float = 1.0,
    ) -> None:
        super().__init__()
        name = "AsymmetricLayerContrastiveLoss"
        for field, weight in (("background_weight", background_weight), ("rain_weight", rain_weight)):
            if not weight >= 0:
                raise ValueError(f"{name}: `{field}` must be at least 0, got {weight}.")
        check_temperature(name, "background_temperature", background_temperature)
        check_temperature(name, "rain_temperature", rain_temperature)
        check_patches(name, "num_background", num_background)
        check_patches(name, "num_rain", num_rain)
        if direction not in DIRECTIONS:
            raise ValueError(f"{name}: `direction` must be one of {', '.join(DIRECTIONS)}, got {direction!r}.")
        # Background first, rain second.
        self._weights = (background_weight, rain_weight)
        self._temperatures = (background_temperature, rain_temperature)
        self._counts = (num_background, num_rain)
        self.direction = direction
        self.loss_weight = loss_weight
        self.register_buffer("exchanged", torch.tensor(False))

    @property
    def weights(self) -> tuple[float, float]:
        """Weights of background and rain as they stand now."""
        return self._in_force(self._weights)

    @property
    def temperatures(self) -> tuple[float, float]:
        """Temperatures of background and rain as they stand now."""
        return self._in_force(self._temperatures)

    @property
    def num_background(self) -> int:
        """How many background patches to sample as things stand now."""
        return self._in_force(self._counts)[0]

    @property
    def num_rain(self) -> int:
        """How many rain patches to sample as things stand now."""
        return self._in_force(self._counts)[1]

    def orient(self, background_dimension: float, rain_dimension: float) -> bool:
        """Give the rain's values to the background, and the reverse, where the background is the simpler layer.

        With ``direction="auto"`` the values are exchanged if ``background_dimension`` is the lower one, and stand as
        given otherwise, whatever an earlier call found; with "as_given" nothing changes. The buffer ``exchanged``
        keeps the finding, so a checkpoint carries it.

        Args:
            background_dimension: Intrinsic dimension of the background's patches, at least 0.
            rain_dimension: That of the rain's.

        Returns:
            Whether the values are exchanged now.

        Raises:
            ValueError: If a dimension is negative or not finite.
        """
        for field, value in (("background_dimension", background_dimension), ("rain_dimension", rain_dimension)):
            if not 0 <= value < float("inf"):
                raise ValueError(
                    f"AsymmetricLayerContrastiveLoss: `{field}` must be finite and at least 0, got {value}."
                )
        if self.direction == "auto":
            self.exchanged.fill_(background_dimension < rain_dimension)
        return bool(self.exchanged)

    def forward(self, background: Embeddings, rain: Embeddings) -> Tensor:
        """Return the weighted sum of both classes' means, averaged over pictures and maps.

        Args:
            background: L2-normalised embeddings of background patches, (B, N_B, D) or (N_B, D), or a list, one a map.
            rain: Those of rain patches, (B, N_R, D) or (N_R, D), or a list of as many maps.

        Returns:
            Scalar.

        Raises:
            ValueError: If batch, D or numbers of maps differ.
            TypeError: If an embedding is not a floating-point tensor.
        """
        background_weight, rain_weight = self.weights
        terms = []
        for pair in _map_pairs("AsymmetricLayerContrastiveLoss", background, rain):
            of_background, of_rain = class_terms(*pair, *self.temperatures)
            terms.append(background_weight * of_background + rain_weight * of_rain)
        return self.loss_weight * torch.stack(terms).mean()

    def _in_force(self, pair: tuple) -> tuple:
        return pair[::-1] if self.exchanged else pair


def class_terms(
    background: Tensor, rain: Tensor, background_temperature: float, rain_temperature: float
) -> tuple[Tensor, Tensor]:
    """Return the mean supervised-contrastive term of each class.

    Args:
        background: (B, N_B, D).
        rain: (B, N_R, D).
        background_temperature: Temperature of the terms of background patches.
        rain_temperature: Temperature of the terms of rain patches.

    Returns:
        Two scalars, background and rain; 0 for a class of one patch.
    """
    with torch.autocast(background.device.type, enabled=False):
        everything = torch.cat((background, rain), 1)
        split = background.shape[1]
        return (
            _class_term(everything, 0, split, background_temperature),
            _class_term(everything, split, everything.shape[1], rain_temperature),
        )


def _class_term(everything: Tensor, start: int, stop: int, temperature: float) -> Tensor:
    similarity = everything[:, start:stop] @ everything.mT / temperature
    itself = torch.eye(everything.shape[1], dtype=torch.bool, device=everything.device)[start:stop]
    others = similarity.masked_fill(itself, -torch.inf).logsumexp(-1)
    count = stop - start
    positives = similarity.masked_fill(itself, 0)[..., start:stop].sum(-1) / max(count - 1, 1)
    # Times 0 rather than a constant 0: the result keeps its place in the graph.
    return (others - positives).mean() * (count > 1)


def _map_pairs(loss: str, background: Embeddings, rain: Embeddings) -> list[tuple[Tensor, Tensor]]:
    backgrounds, rains = as_maps(loss, "background", background), as_maps(loss, "rain", rain)
    check_count(loss, "rain", rains, backgrounds, "background")
    pairs = list(zip(backgrounds, rains, strict=True))
    for first, second in pairs:
        if (first.shape[0], first.shape[2]) != (second.shape[0], second.shape[2]):
            raise ValueError(
                f"{loss}: `rain` must have the batch and D of `background`, ({first.shape[0]}, {first.shape[2]}), "
                f"got ({second.shape[0]}, {second.shape[2]})."
            )
    return pairs
