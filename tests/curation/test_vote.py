import itertools

import pytest

from msgnn_plugin.curation.vote import Verdict, decide


@pytest.mark.parametrize("votes", list(itertools.product((True, False, None), repeat=3)))
def test_majority_of_three(votes):
    verdicts = [Verdict(str(i), vote, "" if vote else f"kind {vote}: {i}") for i, vote in enumerate(votes)]
    decision = decide(verdicts)
    yes, no = votes.count(True), votes.count(False)
    assert decision.kept == (yes >= 2)
    # Two of three settle it, whatever the silent one would have said.
    assert decision.decided == (yes >= 2 or no >= 2)
    assert bool(decision.reason) == (not decision.kept)
    assert decision.reason.startswith("undecided") == (not decision.decided)


def test_the_reason_is_the_most_common_one():
    verdicts = [Verdict("a", False, "blurred: 1"), Verdict("b", False, "noise: 2"), Verdict("c", False, "noise: 3")]
    assert decide(verdicts).reason == "noise: 2"


def test_no_judges_keep():
    assert decide([]).kept
