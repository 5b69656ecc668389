"""The location contrastive loss of NLCL (CVPR 2022): what a place was, its restored picture must still be."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from msgnn_plugin.losses.embeddings import Embeddings, as_maps, check_count, check_patches, check_temperature

# Similarity given to the place of a query's own key among the negatives, before the division by the temperature.
EXCLUDED = -10.0


class LocationContrastiveLoss(nn.Module):
    """InfoNCE between the same places of two pictures; the negatives are the other places of the same picture.

    Paper: Ye et al., "Unsupervised Deraining: Where Contrastive Learning Meets Self-similarity" (CVPR 2022), as its
    released code computes it: query i meets key i as its positive and all other keys of its picture as negatives,
    a negative in the positive's place having similarity -10. Computed in float32 under autocast too.

    Args:
        temperature: Divisor of the similarities, above 0.
        num_patches: How many patches the model is to sample of a picture; the loss itself takes any number.
        loss_weight: Factor of the loss.

    Raises:
        ValueError: If ``temperature`` or ``num_patches`` is out of its range.
    """

    def __init__(self, *, temperature: float = 0.07, num_patches: int = 256, loss_weight: float = 1.0) -> None:
        super().__init__()
        check_temperature("LocationContrastiveLoss", "temperature", temperature)
        check_patches("LocationContrastiveLoss", "num_patches", num_patches)
        self.temperature = temperature
        self.num_patches = num_patches
        self.loss_weight = loss_weight

    def forward(
        self,
        query: Embeddings,
        key: Embeddings,
        identity_query: Embeddings | None = None,
        identity_key: Embeddings | None = None,
    ) -> Tensor:
        """Return the mean over queries, pictures and maps; with an identity pair, half of each pair's.

        Args:
            query: L2-normalised embeddings of the restored picture, (B, N, D) or (N, D), or a list, one a feature map.
            key: Those of the rainy picture at the same places; no gradient flows into them.
            identity_query: Those of the restored clean picture, or None.
            identity_key: Those of the clean picture at the same places, or None.

        Returns:
            Scalar.

        Raises:
            ValueError: If shapes or numbers of maps differ, or only one of the identity pair is given.
            TypeError: If an embedding is not a floating-point tensor.
        """
        if (identity_query is None) != (identity_key is None):
            missing = "identity_query" if identity_query is None else "identity_key"
            raise ValueError(
                f"LocationContrastiveLoss: `identity_query` and `identity_key` must come together, got no `{missing}`."
            )
        total = self._pair("query", query, "key", key)
        if identity_query is not None and identity_key is not None:
            total = (total + self._pair("identity_query", identity_query, "identity_key", identity_key)) / 2
        return self.loss_weight * total

    def _pair(self, query_name: str, query: Embeddings, key_name: str, key: Embeddings) -> Tensor:
        name = "LocationContrastiveLoss"
        queries, keys = as_maps(name, query_name, query), as_maps(name, key_name, key)
        check_count(name, key_name, keys, queries, query_name)
        for asking, answering in zip(queries, keys, strict=True):
            if asking.shape != answering.shape:
                raise ValueError(
                    f"{name}: `{key_name}` must have the shape of `{query_name}`, {tuple(asking.shape)}, "
                    f"got {tuple(answering.shape)}."
                )
        terms = [info_nce(*pair, self.temperature) for pair in zip(queries, keys, strict=True)]
        return torch.stack(terms).mean()


def info_nce(query: Tensor, key: Tensor, temperature: float) -> Tensor:
    """Return the mean of -log softmax of each query's own key. Shape: (B, N, D) twice -> ()."""
    with torch.autocast(query.device.type, enabled=False):
        key = key.detach()
        # By itself rather than the diagonal of the product below: float32 then rounds as in the authors' gradients.
        positive = (query[..., None, :] @ key[..., None])[..., 0]
        own = torch.eye(query.shape[1], dtype=torch.bool, device=query.device)
        negative = (query @ key.mT).masked_fill(own, EXCLUDED)
        logits = torch.cat((positive, negative), -1).flatten(0, 1) / temperature
        return F.cross_entropy(logits, logits.new_zeros(len(logits), dtype=torch.int64))
