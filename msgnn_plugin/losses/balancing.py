"""Weights of several objectives from how fast each of them converges. UniRain (CVPR 2026), Eq. 6-10."""

import math
from collections.abc import Iterable, Mapping
from typing import Any, Literal, get_args

import torch
from torch import Tensor

Mode = Literal["paper", "released", "tbs", "tss", "equal"]
# What the released script does beyond the equations.
LEAST_WEIGHT = 0.1
SLOPE_LIMIT = 1e3
EPSILON = 1e-8
# A slope below this share of the losses is their rounding.
ROUNDING = 1e-13


class MultiObjectiveBalancer:
    """Weigh objectives by the slopes of their validation losses.

    A straight line is fitted to the last ``window`` losses of each objective (Eq. 6). The type balance score gives
    more to those that converge slowly (Eq. 7), the type stability score less to those that begin to diverge (Eq. 8),
    and the adaptivity factor moves from the first to the second when the worst one stops converging (Eq. 9, 10).

    Weights are equal until ``window`` losses are there and ``warmup`` is over; slopes are counted from then on.
    A denominator of Eq. 7-9 that is zero, as of losses that stand still, makes its ratio zero.

    Args:
        num_objectives: K, the number of objectives.
        window: N, losses that a line is fitted to and slopes that Eq. 8 looks at, at least 2.
        tau: Temperature of the adaptivity factor, above 0.
        mode: "paper": the equations on losses divided by the first ones (a first loss of 0 divides by 1), with the
            absolute value of slopes in the denominator of Eq. 9, without which the factor never leaves 1.
            "released": the authors' script: losses as they are, the factor read off the slope of the largest loss
            over the last ``window`` slopes and not multiplied by their number, two further softmaxes and no weight
            below 0.1; it warms up for 20 losses. "tbs" and "tss": Eq. 7 or Eq. 8 alone. "equal": always 1 / K.
        warmup: First losses for which the weights stay equal; their slopes are not counted.

    Raises:
        ValueError: If a setting is out of its range.
    """

    def __init__(
        self, num_objectives: int = 4, window: int = 10, tau: float = 5.0, mode: Mode = "paper", warmup: int = 0
    ) -> None:
        for name, value, least in (("num_objectives", num_objectives, 1), ("window", window, 2), ("warmup", warmup, 0)):
            if value < least:
                raise ValueError(f"MultiObjectiveBalancer: `{name}` must be at least {least}, got {value}.")
        if not 0 < tau < math.inf:
            raise ValueError(f"MultiObjectiveBalancer: `tau` must be above 0 and finite, got {tau}.")
        if mode not in get_args(Mode):
            raise ValueError(
                f"MultiObjectiveBalancer: `mode` must be one of {', '.join(get_args(Mode))}, got {mode!r}."
            )
        if mode == "released" and num_objectives * LEAST_WEIGHT > 1:
            raise ValueError(
                f"MultiObjectiveBalancer: `num_objectives` must be at most {1 / LEAST_WEIGHT:.0f} where none may weigh "
                f"less than {LEAST_WEIGHT}, got {num_objectives}; take another mode."
            )
        self.num_objectives = num_objectives
        self.window = window
        self.tau = tau
        self.mode = mode
        self.warmup = warmup
        # Every loss so far is all there is to remember: slopes and weights follow from it.
        self.losses = torch.empty(0, num_objectives, dtype=torch.float64)

    def update(self, losses: Iterable[float] | Tensor) -> Tensor:
        """Take the losses of one more validation and return the weights.

        Args:
            losses: K finite values of at least 0.

        Returns:
            Weights of shape (K,), float64 on the CPU, sum 1.

        Raises:
            ValueError: If there are not K values, or one is negative or not finite; nothing is taken then.
        """
        values = [float(loss.detach() if isinstance(loss, Tensor) else loss) for loss in losses]
        if len(values) != self.num_objectives:
            raise ValueError(
                f"MultiObjectiveBalancer: `losses` must hold {self.num_objectives} values, got {len(values)}."
            )
        self.losses = torch.cat((self.losses, self._checked(torch.tensor([values], dtype=torch.float64))))
        return self.weights()

    def weights(self) -> Tensor:
        """Return the weights that follow from the losses so far, shape (K,), float64 on the CPU, sum 1."""
        equal = torch.full((self.num_objectives,), 1 / self.num_objectives, dtype=torch.float64)
        if self.mode == "equal" or len(self.losses) < self._first_slope():
            return equal
        if self.mode == "released":
            return self._released_weights()
        first = self.losses[0]
        slopes = self._slopes(self.losses / torch.where(first > 0, first, 1))
        if self.mode == "tbs":
            return balance_score(slopes)
        stability = stability_score(slopes, self.window)
        if self.mode == "tss":
            return stability
        factor = adaptivity_factor(slopes.amax(1), self.tau)
        return factor * balance_score(slopes) + (1 - factor) * stability

    def state_dict(self) -> dict[str, Any]:
        """Return what a restored balancer needs to go on: every loss so far, shape (n, K)."""
        return {"losses": self.losses.clone()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take up the losses of another balancer of as many objectives.

        Raises:
            ValueError: If the state is not of this form; nothing is taken then.
        """
        losses = state.get("losses")
        if not isinstance(losses, Tensor) or losses.dim() != 2 or losses.shape[1] != self.num_objectives:
            got = f"shape {tuple(losses.shape)}" if isinstance(losses, Tensor) else type(losses).__name__
            raise ValueError(
                f"MultiObjectiveBalancer: `losses` of a state must have shape (n, {self.num_objectives}), got {got}."
            )
        self.losses = self._checked(losses.detach().to("cpu", torch.float64, copy=True))

    def _released_weights(self) -> Tensor:
        slopes = self._slopes(self.losses).clamp(-SLOPE_LIMIT, SLOPE_LIMIT)
        worst = self._slopes(self.losses.amax(1, keepdim=True)).clamp(-SLOPE_LIMIT, SLOPE_LIMIT)[:, 0]
        worst = worst[-self.window :]
        factor = (-self.tau * len(worst) * worst / (worst.abs().sum() + EPSILON)).softmax(0)[-1]
        balance = balance_score(slopes, EPSILON)
        weights = factor * balance + (1 - factor) * stability_score(slopes, self.window, EPSILON)
        for _ in range(2):
            weights = (self.num_objectives * weights).softmax(0)
        return weights * (1 - self.num_objectives * LEAST_WEIGHT) + LEAST_WEIGHT

    def _slopes(self, losses: Tensor) -> Tensor:
        """Return the slopes (Eq. 6) at each of the steps that count: (n, K) -> (steps, K)."""
        windows = losses[self._first_slope() - self.window :].unfold(0, self.window, 1)
        place = torch.arange(self.window, dtype=torch.float64)
        place -= place.mean()
        slopes = (windows - windows.mean(-1, keepdim=True)) @ (place / place.square().sum())
        return torch.where(slopes.abs() > ROUNDING * windows.amax(-1), slopes, 0)

    def _first_slope(self) -> int:
        """Return how many losses there are when the first slope counts."""
        return max(self.window, self.warmup + 1)

    def _checked(self, losses: Tensor) -> Tensor:
        wrong = losses[~(losses >= 0) | losses.isinf()]
        if len(wrong):
            raise ValueError(f"MultiObjectiveBalancer: `losses` must be finite and at least 0, got {wrong[0].item()}.")
        return losses


def balance_score(slopes: Tensor, epsilon: float = 0.0) -> Tensor:
    """Return the type balance score (Eq. 7): slow or rising objectives get more. Shape: (steps, K) -> (K,)."""
    latest = slopes[-1]
    return (len(latest) * _ratio(latest, latest.abs().sum(), epsilon)).softmax(0)


def stability_score(slopes: Tensor, window: int, epsilon: float = 0.0) -> Tensor:
    """Return the type stability score (Eq. 8): objectives that begin to rise get less. Shape: (steps, K) -> (K,)."""
    recent = slopes[-window:]
    return (-len(recent) * _ratio(recent[-1], recent.abs().sum(0), epsilon)).softmax(0)


def adaptivity_factor(worst: Tensor, tau: float) -> Tensor:
    """Return the adaptivity factor (Eq. 9) of all slopes of the worst objective so far. Shape: (steps,) -> ()."""
    count = len(worst)
    shares = (-tau * count * _ratio(worst, worst.abs().sum(), 0.0)).softmax(0)
    return (count * shares[-1]).clamp(max=1)


def _ratio(value: Tensor, total: Tensor, epsilon: float) -> Tensor:
    """Return a share of absolute values, 0 where there are none."""
    total = total + epsilon
    return value / torch.where(total > 0, total, 1)
