"""The vote of several judges on a pair: Eq. 5 of UniRain."""

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Verdict:
    """What one judge says.

    Attributes:
        judge: Its name.
        reliable: True or False; None where the judge gave no usable answer.
        reason: Why not reliable, in a few words, or why there is no answer; empty for a yes.
        unparseable: Answers that could not be read, before a usable one or in vain.
        failures: Calls that brought no answer at all.
    """

    judge: str
    reliable: bool | None
    reason: str = ""
    unparseable: int = 0
    failures: int = 0


@dataclass(frozen=True)
class Decision:
    """What a panel decides.

    Attributes:
        kept: Whether more than half of the judges call the pair reliable.
        decided: Whether judges that gave no answer could not have changed that.
        reason: Why the pair is dropped: the reason that most of its judges gave, the first of equals.
    """

    kept: bool
    decided: bool
    reason: str


def decide(verdicts: Sequence[Verdict]) -> Decision:
    """Count the votes; no answer is no yes.

    Args:
        verdicts: One a judge; none keeps the pair.

    Returns:
        The decision.
    """
    if not verdicts:
        return Decision(True, True, "")
    needed = len(verdicts) // 2 + 1
    yes = sum(verdict.reliable is True for verdict in verdicts)
    silent = sum(verdict.reliable is None for verdict in verdicts)
    if yes >= needed:
        return Decision(True, True, "")
    decided = yes + silent < needed
    reasons = [v.reason for v in verdicts if (v.reliable is False if decided else v.reliable is None)]
    kinds = [reason.partition(":")[0] for reason in reasons]
    most = max(kinds, key=kinds.count)
    reason = reasons[kinds.index(most)]
    return Decision(False, decided, reason if decided else f"undecided: {reason}")
