"""Networks whose weights carry their settings."""

from collections.abc import Callable, Mapping
from typing import Any

from torch import Tensor, nn


class SettingsInWeights(nn.Module):
    """Base of networks that keep their settings in the buffer ``hyper``, so that weights tell which network is theirs.

    Sub-classes set ``settings`` and register ``hyper`` as ``pack_hyper`` gives it.
    """

    settings: dict[str, Any]
    hyper: Tensor
    pack_hyper: Callable[[Mapping[str, Any]], Tensor]
    unpack_hyper: Callable[[Tensor], dict[str, Any]]

    def load_state_dict(self, state_dict: Mapping[str, Any], strict: bool = True, assign: bool = False) -> Any:
        """Load weights as any module does; their settings must be this network's, or are ignored with ``strict=False``.

        Raises:
            RuntimeError: If settings differ (names the first), or tensors are missing or do not fit.
        """
        if "hyper" in state_dict:
            if strict:
                self._check_settings(state_dict["hyper"])
            else:
                state_dict = {**state_dict, "hyper": self.pack_hyper(self.settings)}
        return super().load_state_dict(state_dict, strict, assign)

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *args: Any, **kwargs: Any) -> None:
        """Look at the buffers here, where networks come by too that are loaded as a part of another module."""
        errors = args[4] if len(args) > 4 else kwargs["error_msgs"]
        try:
            self._look_at_buffers(state_dict, prefix)
        except (RuntimeError, ValueError) as error:
            errors.append(str(error))
            return
        super()._load_from_state_dict(state_dict, prefix, *args, **kwargs)

    def _look_at_buffers(self, state_dict: Mapping[str, Any], prefix: str) -> None:
        """Raise RuntimeError or ValueError where what the buffers are to hold does not fit this network."""
        if prefix + "hyper" in state_dict:
            self._check_settings(state_dict[prefix + "hyper"])

    def _check_settings(self, hyper: Tensor) -> None:
        where = type(self).__name__
        for field, value in self.unpack_hyper(hyper).items():
            if value != self.settings[field]:
                raise RuntimeError(
                    f"{where}: `{field}` must be {value!r} as in the weights, got {self.settings[field]!r}; "
                    f"set it so, or build the network with {where}.from_state_dict."
                )

    def _save_to_state_dict(self, destination: dict[str, Any], prefix: str, keep_vars: bool) -> None:
        # Averaging buffers, as some do, would leave the settings of another network here.
        self.hyper = self.pack_hyper(self.settings).to(self.hyper.device)
        super()._save_to_state_dict(destination, prefix, keep_vars)
