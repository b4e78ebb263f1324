"""Which committed shards were made from rows that go, by what the commit records say of their inputs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from pipeline.commit import Commit
from pipeline.dataset import Dataset, Run
from pipeline.takedown.finding import Found, Key
from pipeline.takedown.holding import refers

PRODUCTS = ("source", "documents", "selection", "tokens")
"""Kinds whose files lose the rows."""
RETIRED = ("work",)
_INDEX = ".index"  # of a dedup step; no task of this run needs it, other runs do, so the next run makes it anew
LEARNED = ("artifact", "model")
"""Kinds that stay as they are, and are told."""


@dataclass
class Concerned:
    """What each step's shards come to: products to rewrite, files to retire or forget, and what learned from the rows."""

    rewrite: list[Key] = field(default_factory=list)
    retire: list[Key] = field(default_factory=list)
    forget: list[Key] = field(default_factory=list)
    learned: list[str] = field(default_factory=list)

    @property
    def keys(self) -> list[Key]:
        """Every shard that gets a new record."""
        return [*self.rewrite, *self.retire, *self.forget]


def concerned(run: Run, found: Found) -> Concerned:
    """The shards that a takedown changes."""
    result = Concerned()
    held: dict[str, set[int]] = {}
    changed: dict[str, set[int]] = {}
    for step, index in (*found.gone, *found.hits):
        held.setdefault(step, set()).add(index)
        # Documents that a step dropped or removed never went on to others.
        if (step, index) in found.gone or run.nodes[step]["kind"] == "tokens":
            changed.setdefault(step, set()).add(index)
    _touch_sources(run, held, changed)
    for step, node in run.nodes.items():
        if node["dataset"] is None:
            continue
        dataset = run[step]
        if node["kind"] in PRODUCTS:
            moved = refers(node) and bool(changed.get(node["inputs"].get("documents", ""), ()))
            result.rewrite += [(step, k) for k in sorted(dataset.commits) if moved or k in held.get(step, ())]
            continue
        mine = [k for k, commit in sorted(dataset.commits.items()) if _made_from(run, dataset, commit, changed)]
        if node["kind"] in LEARNED:
            result.learned += [step] if mine else []
        elif mine:
            changed.setdefault(step, set()).update(mine)
            alive = [k for k in mine if not dataset.commits[k].retired]
            retired = node["kind"] in RETIRED and not step.endswith(_INDEX)
            (result.retire if retired else result.forget).extend((step, k) for k in alive)
    return result


def _touch_sources(run: Run, held: Mapping[str, set[int]], changed: dict[str, set[int]]) -> None:
    """A source's shard is concerned where the step that copied it, or dropped of it, is."""
    for step, node in run.nodes.items():
        base = node["inputs"].get("documents")
        if node["kind"] == "documents" and base is not None and run.nodes[base]["kind"] == "source":
            changed.setdefault(base, set()).update(held.get(step, ()))


def _made_from(run: Run, dataset: Dataset, commit: Commit, changed: Mapping[str, set[int]]) -> bool:
    for role, keys in commit.inputs.items():
        source = run.nodes[dataset.name]["inputs"].get(role)
        if source is None or not changed.get(source):
            continue
        theirs = run[source].commits
        if {theirs[k].key for k in changed[source] if k in theirs} & set(keys):
            return True
        if not {one.key for one in theirs.values()} & set(keys):
            return True  # the whole set went in, which is named by its fingerprint
    return False
