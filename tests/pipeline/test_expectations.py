"""What a step was expected to keep, where documents were taken down since."""

from __future__ import annotations

import pytest

from pipeline.errors import RunFailedError
from pipeline.expectations import check
from pipeline.ledger import Count, Ledger
from pipeline.workflow import Expect


def account(taken_down: int, kept_of_a: int, kept_of_b: int) -> Ledger:
    """100 documents of each of two sources came in; what is neither kept nor taken down was dropped."""
    kept = kept_of_a + kept_of_b
    return Ledger(
        into=Count(200),
        kept=Count(kept),
        dropped={"length:short": Count(200 - kept - taken_down)},
        taken_down=Count(taken_down),
        group_into={"a|en": Count(100), "b|en": Count(100)},
        group_kept={"a|en": Count(kept_of_a), "b|en": Count(kept_of_b)},
    )


@pytest.mark.parametrize(
    ("taken_down", "kept_of_a", "kept_of_b"),
    [(0, 50, 80), (60, 20, 50), (100, 0, 50), (30, 35, 80)],
    ids=["none", "of-both", "all-of-one", "of-one"],
)
def test_what_was_taken_down_is_not_held_against_a_step(taken_down: int, kept_of_a: int, kept_of_b: int) -> None:
    check("clean", account(taken_down, kept_of_a, kept_of_b), Expect(kept=(0.5, 0.8)))


@pytest.mark.parametrize(
    ("taken_down", "kept_of_a", "kept_of_b", "group"),
    [(0, 49, 80, "source 'a'"), (10, 39, 80, "source 'a'"), (10, 60, 81, "source 'b'"), (10, 20, 50, "the whole step")],
    ids=["none", "too-few", "too-many", "whole"],
)
def test_a_share_that_takedowns_cannot_explain_fails(
    taken_down: int, kept_of_a: int, kept_of_b: int, group: str
) -> None:
    with pytest.raises(RunFailedError, match=f"documents of {group}"):
        check("clean", account(taken_down, kept_of_a, kept_of_b), Expect(kept=(0.5, 0.8)))
