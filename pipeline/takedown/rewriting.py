"""The files and the account of a shard without the rows that go."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from pipeline.commit import Commit, Published
from pipeline.dataset import Dataset, Run
from pipeline.fingerprint import file_sha256
from pipeline.ledger import Count, Ledger
from pipeline.parquet_shard import ParquetShard
from pipeline.report.reading import parquet
from pipeline.shards import CommittedShard
from pipeline.takedown.finding import Found, Gone, Rows, keep_flags
from pipeline.work import Output

NOBODY = bytes(16)
"""Id of the document that stayed for a removed row, where that document was taken down."""

_NONE = np.zeros(0, np.int64)


@dataclass
class Taken:
    """Files of one shard that replace others, and what left its account."""

    replaced: dict[str, Path | None] = field(default_factory=dict)
    """Name of a committed file -> the one that comes for it; None: none does."""
    ledger: Ledger = field(default_factory=Ledger)
    facts: dict[str, Any] = field(default_factory=dict)

    def left(self, counts: dict[str, Count] | None, key: str, count: Count) -> None:
        """Take something out of one column of the account and into ``taken_down``."""
        column = self.ledger.kept if counts is None else _column(counts, key)
        column.add(-count.docs, -min(count.bytes, column.bytes), -min(count.tokens, column.tokens))
        self.ledger.taken_down.merge(count)
        if counts is not None and not column.docs:
            del counts[next(name for name, one in counts.items() if one is column)]


def _column(counts: Mapping[str, Count], key: str) -> Count:
    """The column of that name, else the fullest: an account balances in any case."""
    return counts[key] if key in counts else max(counts.values(), key=lambda count: count.docs)


TokenRewriter = Callable[[CommittedShard, Rows, Path], tuple[Sequence[Output], Mapping[str, Any]]]
"""(shard, numbers of the documents that go, an empty folder) -> all its files anew, facts that change."""


@dataclass(frozen=True)
class Rewriter:
    """Rewrites shards of one run. generation: of what it writes; request: the takedown that asks for it."""

    run: Run
    found: Found
    generation: int
    request: int
    tokens: TokenRewriter

    def rewrite(self, dataset: Dataset, index: int, scratch: Path) -> Commit | None:
        """Write a shard's files without the rows, published under new names; its new record, None if nothing changes.

        Nothing reads them before the generation is in force.
        """
        commit = dataset.commits[index]
        taken = Taken(ledger=Ledger.from_json(commit.ledger.to_json()), facts=dict(commit.facts))
        for output in commit.outputs:
            if output.suffix.endswith(".parquet"):
                self._rows(dataset, index, output, taken, scratch)
        if dataset.kind == "selection":
            self._bitmap(dataset, index, taken, scratch)
        elif dataset.kind == "tokens":
            self._tokens(dataset, index, taken, scratch)
        if not taken.replaced and taken.ledger.to_json() == commit.ledger.to_json():
            return None
        taken.ledger.check(f"{dataset.folder} shard {index} after the takedown")
        outputs = list(self._published(dataset, commit, taken.replaced, scratch))
        return self.record(commit, "rewritten", outputs, taken)

    def record(
        self, commit: Commit, state: str, outputs: Sequence[Published] = (), taken: Taken | None = None
    ) -> Commit:
        """A shard's record of the new generation."""
        return Commit(
            index=commit.index,
            inputs=commit.inputs,
            outputs=tuple(outputs),
            ledger=taken.ledger if taken else commit.ledger,
            facts=taken.facts if taken else commit.facts,
            run=commit.run,
            generation=self.generation,
            takedown={"state": state, "key": commit.key, "request": self.request},
        )

    # -- files ----------------------------------------------------------------------------------------------------

    def _rows(self, dataset: Dataset, index: int, output: Published, taken: Taken, scratch: Path) -> None:
        """A Parquet file of documents, of rejected rows, or beside a bitmap."""
        if output.folder in ("dropped", "quarantine"):
            self._rejected(dataset, output, taken, scratch)
        elif dataset.kind == "documents" and output.folder == "shards" and output.suffix == ".parquet":
            gone = self.found.gone.get((dataset.name, index))
            if gone is not None:
                _filtered(dataset, output, lambda table: ~self.found.forbidden.rows(table), taken, scratch)
                _count_kept(gone, taken)
        elif dataset.kind in ("documents", "selection"):
            self._beside(dataset, index, output, taken, scratch)

    def _rejected(self, dataset: Dataset, output: Published, taken: Taken, scratch: Path) -> None:
        counts = taken.ledger.dropped if output.folder == "dropped" else taken.ledger.quarantined
        left: list[tuple[str, int]] = []

        def keep(table: pa.Table) -> np.ndarray:
            mask = self.found.forbidden.rows(table)
            for row in table.filter(pa.array(mask)).to_pylist():
                reason = f"{row['operator']}:{row['reason']}" if output.folder == "dropped" else row["operator"]
                left.append((reason, row["bytes"]))
            return ~mask

        _filtered(dataset, output, keep, taken, scratch)
        for reason, size in left:
            taken.left(counts, reason, Count(1, size))

    def _beside(self, dataset: Dataset, index: int, output: Published, taken: Taken, scratch: Path) -> None:
        """Rows that refer to rows of the step's own input: ``row``, and ``rep_row`` of ``rep_shard``."""
        with parquet(self.run.storage, output.name) as opened:
            table = opened.read()
        new = self.renumbered(table, self._base(dataset), index)
        if new.equals(table):
            return
        path = scratch / f"{len(taken.replaced)}.parquet"
        pq.write_table(new, path, compression="zstd")
        taken.replaced[output.name] = path

    def renumbered(self, table: pa.Table, base: str, index: int) -> pa.Table:
        """A table without the rows, with numbers moved up and with nobody where a representative went."""
        stay = np.ones(table.num_rows, np.bool_)
        if "id" in table.column_names:
            stay &= ~self.found.forbidden.rows(table.select(["id"]))
        gone = self._gone(base, index)
        if "row" in table.column_names:
            rows = table["row"].to_numpy()
            stay &= ~np.isin(rows, gone)
            table = _set(table, "row", rows - np.searchsorted(gone, rows))
        if "rep_id" in table.column_names:
            table = self._representatives(table, base)
        return table.filter(pa.array(stay)).combine_chunks()

    def _representatives(self, table: pa.Table, base: str) -> pa.Table:
        own = table["rep_level"].to_numpy() == 0 if "rep_level" in table.column_names else np.ones(len(table), np.bool_)
        shards, rows = table["rep_shard"].to_numpy(), table["rep_row"].to_numpy().copy()
        for shard in np.unique(shards[own & (shards >= 0)]).tolist():
            mine = own & (shards == shard)
            rows[mine] -= np.searchsorted(self._gone(base, shard), rows[mine])
        lost = self.found.forbidden.rows(pa.table({"id": table["rep_id"]}))
        table = _set(table, "rep_row", np.where(lost, -1, rows))
        table = _set(table, "rep_shard", np.where(lost, -1, shards))
        ids = pc.if_else(pa.array(lost), pa.scalar(NOBODY, pa.binary(16)), table["rep_id"])
        return _set(table, "rep_id", ids)

    def _gone(self, step: str, index: int) -> Rows:
        found = self.found.gone.get((step, index))
        return _NONE if found is None else found.rows

    def _base(self, dataset: Dataset) -> str:
        return self.run.nodes[dataset.name]["inputs"]["documents"]

    def _bitmap(self, dataset: Dataset, index: int, taken: Taken, scratch: Path) -> None:
        base = self.found.gone.get((self._base(dataset), index))
        commit = dataset.commits[index]
        output = next((one for one in commit.outputs if one.suffix == ".keep"), None)
        if base is None or output is None:
            return
        keep = keep_flags(dataset, commit)
        table = pa.table({"keep": pa.array(np.delete(keep, base.rows), pa.bool_())})
        path = scratch / "bitmap.keep"
        with pa.OSFile(str(path), "wb") as file, pa.ipc.new_file(file, table.schema) as writer:
            writer.write_table(table)
        taken.replaced[output.name] = path
        kept = keep[base.rows]
        _count_kept(Gone(base.rows[kept], base.about.filter(pa.array(kept))), taken)
        self._count_removed(commit, base.about.filter(pa.array(~kept)), taken)

    def _count_removed(self, commit: Commit, about: pa.Table, taken: Taken) -> None:
        """Rows that a selection had removed leave the column they stood in."""
        why: dict[bytes, tuple[str, str]] = {}
        for output in commit.outputs:
            if output.suffix in (".removed.parquet", ".held_out.parquet"):
                with parquet(self.run.storage, output.name) as opened:
                    column = "kind" if output.suffix == ".removed.parquet" else "set"
                    table = opened.read(["id", column])
                rows = table.filter(pa.array(self.found.forbidden.rows(table))).to_pylist()
                why |= {row["id"]: (column, str(row[column])) for row in rows}
        for row in about.to_pylist():
            column, value = why.get(row["id"], ("set", ""))
            removed = column == "kind" and taken.ledger.duplicates
            counts = taken.ledger.duplicates if removed else taken.ledger.dropped or taken.ledger.duplicates
            taken.left(counts, value if removed else f"split:{value}", Count(1, row["bytes"]))

    def _tokens(self, dataset: Dataset, index: int, taken: Taken, scratch: Path) -> None:
        commit = dataset.commits[index]
        output = next((one for one in commit.outputs if one.suffix == ".docs.parquet"), None)
        if output is None:
            return
        with parquet(self.run.storage, output.name) as opened:
            table = opened.read(["id", "url", "source", "language", "num_tokens", "num_bytes"])
        rows = np.flatnonzero(self.found.forbidden.rows(table))
        if not len(rows):
            return
        shard = next(one for one in dataset.shards() if one.index == index)
        made, facts = self.tokens(shard, rows, scratch)
        by_suffix = {one.suffix: one.path for one in made}
        for old in commit.outputs:
            if old.folder == "shards":
                taken.replaced[old.name] = by_suffix[old.suffix]
        for row in table.take(pa.array(rows)).to_pylist():
            count = Count(1, row["num_bytes"], row["num_tokens"])
            taken.left(None, "", count)
            _less(taken.ledger.group_kept.get(f"{row['source']}|{row['language']}"), count)
        taken.facts |= dict(facts)

    def _published(
        self, dataset: Dataset, commit: Commit, replaced: Mapping[str, Path | None], scratch: Path
    ) -> Iterable[Published]:
        """All files of the shard: those of a folder in which one changed get a new stem together."""
        folders = {output.folder for output in commit.outputs if output.name in replaced}
        stems: dict[str, str] = {}
        for output in commit.outputs:
            if output.folder not in folders:
                yield output
                continue
            path = replaced.get(output.name, Path())
            if path is None:
                continue
            if output.name not in replaced:
                path = Path(shutil.copyfile(self.run.storage.local_path(output.name), scratch / "unchanged"))
            sha256, size = file_sha256(path), path.stat().st_size
            stem = stems.setdefault(output.folder, f"{commit.index:08d}-{sha256[:16]}-g{self.generation}")
            name = f"{dataset.folder}/{output.folder}/{stem}{output.suffix}"
            self.run.storage.write_file(path, name)
            yield Published(name, output.suffix, output.folder, size, sha256)


def _filtered(
    dataset: Dataset, output: Published, keep: Callable[[pa.Table], np.ndarray], taken: Taken, scratch: Path
) -> None:
    """Write a file's rows that stay, in row groups of the exact size; none is written where none stays."""
    shard = ParquetShard(scratch / f"{len(taken.replaced)}.parquet")
    before = 0
    with parquet(dataset.run.storage, output.name) as opened:
        for group in range(opened.num_row_groups):
            table = opened.read_row_group(group)
            before += table.num_rows
            shard.add(table.filter(pa.array(keep(table))))
    shard.close()
    if shard.num_rows == before:
        shard.abandon()
        return
    empty = not shard.num_rows and output.folder != "shards"
    taken.replaced[output.name] = None if empty else shard.path


def _count_kept(gone: Gone, taken: Taken) -> None:
    ledger = taken.ledger
    for row in gone.about.to_pylist():
        taken.left(None, "", Count(1, row["bytes"]))
        _less(ledger.group_kept.get(row["group"]), Count(1, row["bytes"]))
    if "rows" in taken.facts:
        taken.facts["rows"] -= len(gone.rows)


def _less(group: Count | None, count: Count) -> None:
    if group is not None and group.docs:
        group.add(-count.docs, -min(count.bytes, group.bytes), -min(count.tokens, group.tokens))


def _set(table: pa.Table, name: str, values: Any) -> pa.Table:
    at = table.schema.get_field_index(name)
    kind = table.schema.field(at)
    array = values if isinstance(values, pa.Array | pa.ChunkedArray) else pa.array(values)
    return table.set_column(at, kind, array.cast(kind.type))
