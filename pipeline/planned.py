"""Works planned by facts: their tasks follow from what those of their inputs noted, and stand once they are done."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from pipeline.commit import Commit
from pipeline.errors import UserError
from pipeline.work import Extent, TaskPlan

PLAN = "plan"
"""Beside the input roles of a commit record: ``k/n`` and what else the plan told the task."""


class CutOtherwiseError(UserError):
    """Some shards of a dataset are there, of another plan than the one that its inputs give now."""

    def __init__(self, dataset: str, message: str) -> None:
        super().__init__(message)
        self.dataset = dataset


def with_facts(extents: Mapping[str, Extent], commits: Mapping[str, Mapping[int, Commit]]) -> dict[str, Extent]:
    """Extents of complete inputs by role, with what the task of each shard noted."""
    return {
        role: replace(extent, facts=tuple(commits[role][k].facts for k in range(extent.count)))
        for role, extent in extents.items()
    }


def plan_key(index: int, plans: Sequence[TaskPlan]) -> tuple[str, ...]:
    """What the plan says of a task, for its commit record."""
    return (f"{index + 1}/{len(plans)}", *(f"{name}={value}" for name, value in plans[index].part.items()))


def standing(
    folder: str, plans: Sequence[TaskPlan], present: Mapping[int, Commit], is_own: Callable[[Commit], bool]
) -> Sequence[TaskPlan]:
    """The tasks of a dataset: these, or the ones it was made by where all its shards are there.

    Its inputs may have changed since, as by a takedown, and that must not cut it anew.

    is_own: whether a commit is of one of these tasks, with the inputs that there are now.

    Raises:
        CutOtherwiseError: some of its shards are there, and were cut by another plan.
    """
    made = {int(commit.inputs[PLAN][0].partition("/")[2]) for commit in present.values()}
    if made == {len(present)}:
        return plans if made == {len(plans)} else [TaskPlan(k, {}) for k in range(len(present))]
    for index, commit in sorted(present.items()):
        if index >= len(plans) or not is_own(commit):
            msg = (
                f"some shards of {folder} are missing, and shard {index} was cut when its inputs held something else; "
                f"remove the folder {folder} of the run, and it is made anew"
            )
            raise CutOtherwiseError(folder, msg)
    return plans
