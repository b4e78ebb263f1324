"""What deduplication of 1e9 and 1e11 documents costs, from measured rates: ``python -m benchmarks.dedup_cost``.

Arithmetic, not a run. Rates are rows/s of one core (``dedup_scaling``, ``dedup_barrier``), sizes bytes a document on
disk; give others as ``--set edges_rows_per_s=300000``. Per task and per file the engine's own limits are applied: 128
partitions unless more are asked for, one task of components, files named in every task that reads them.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass, fields, replace

from benchmarks.dedup_quality import table

RECORD_BYTES_IN_MEMORY = 128
DEFAULT_PARTITIONS = 128


@dataclass(frozen=True)
class Rates:
    """Measured on one core of a busy machine, 2026-11-22."""

    bytes_per_document: float = 4000
    documents_per_shard: float = 40_000
    sketch_bytes_per_s: float = 170e6
    runs_rows_per_s: float = 240e3
    edges_rows_per_s: float = 200e3
    exact_rows_per_s: float = 1.4e6
    components_rows_per_s: float = 5.4e6
    clusters_rows_per_s: float = 400e3
    verdicts_rows_per_s: float = 800e3
    sketch_bytes: float = 177
    exact_bytes: float = 20
    run_bytes: float = 168
    edge_bytes: float = 5.8
    member_bytes: float = 6.4
    near_bytes: float = 18.4
    verdict_bytes: float = 6
    spec_bytes: float = 420
    """A shard as it is named in a task."""


@dataclass(frozen=True)
class Cluster:
    """Nodes, cores of all of them, bytes/s of a node's disk."""

    nodes: int
    cores: int
    disk: float


CLUSTERS = {"4 nodes, 64 cores": Cluster(4, 64, 2e9), "100 nodes, 1,000 cores": Cluster(100, 1000, 3e9)}
SPREAD = ("runs", "edges", "exact", "clusters", "verdicts")


def core_seconds(n: float, rates: Rates) -> dict[str, float]:
    """CPU seconds of each node."""
    found = {"signatures": n * rates.bytes_per_document / rates.sketch_bytes_per_s}
    return found | {
        node: n / getattr(rates, f"{node}_rows_per_s") for node in ("runs", "exact", "edges", "components", "clusters", "verdicts")
    }  # fmt: skip


def disk_bytes(n: float, rates: Rates) -> dict[str, float]:
    """What lies on disk after each node."""
    sizes = {
        "sketch": rates.sketch_bytes, "exact hashes": rates.exact_bytes, "runs": rates.run_bytes,
        "edges": rates.edge_bytes, "members": rates.member_bytes, "removals": rates.near_bytes,
        "verdicts": rates.verdict_bytes,
    }  # fmt: skip
    return {name: n * size for name, size in sizes.items()}


def barrier_seconds(n: float, cluster: Cluster, rates: Rates) -> dict[str, float]:
    """The longer of CPU and disk for what is spread, and components alone on one core of one node."""
    cpu = core_seconds(n, rates)
    spread = sum(cpu[node] for node in SPREAD) / cluster.cores
    moved = 2 * n * (rates.run_bytes + rates.exact_bytes + rates.sketch_bytes / 2 + rates.edge_bytes + rates.near_bytes)
    disk = moved / (cluster.nodes * cluster.disk)
    return {"CPU, spread": spread, "disk, spread": disk, "components, one task": cpu["components"]}


def limits(n: float, rates: Rates) -> list[tuple[str, str, str]]:
    """What grows with the number of shards and partitions."""
    shards = n / rates.documents_per_shard
    records = 14 * n
    partitions = max(DEFAULT_PARTITIONS, 1)
    slices = records / partitions * RECORD_BYTES_IN_MEMORY / 2**30
    return [
        ("shards of 40,000 documents", f"{shards:,.0f}", "files and commit records a node"),
        ("slices an edges task goes through at 1 GiB", f"{slices:,.0f}", "each opens every run again"),
        ("openings of run files, all tasks", f"{partitions * slices * shards:,.0f}", "the same whatever the partitions"),
        ("bytes read at an opening", f"{n * rates.run_bytes / max(1, partitions * slices * shards):,.0f}", "should be 256 KB"),
        ("shards named in one edges task", f"{shards * rates.spec_bytes / 1e6:,.1f} MB", "pickled and sent for each task"),
        ("the same for all 128 tasks", f"{partitions * shards * rates.spec_bytes / 1e9:,.2f} GB", "through the driver"),
        ("scratch of components, 40 % affected", f"{n * (32 * rates.edge_bytes / 16 + 64 * 0.4) / 1e12:,.2f} TB", "one node's disk"),
    ]  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--set", nargs="*", default=[], metavar="NAME=VALUE", help=", ".join(f.name for f in fields(Rates))
    )
    options = parser.parse_args()
    changed = dict(item.split("=") for item in options.set)
    rates = replace(Rates(), **{name: float(value) for name, value in changed.items()})
    counts = (1e9, 1e11)
    head = ["", *(f"{n:.0e} documents ({n * rates.bytes_per_document / 1e12:,.0f} TB)" for n in counts)]
    cpu = [core_seconds(n, rates) for n in counts]
    print("Core-hours")
    table(head, [[node, *(f"{one[node] / 3600:,.2f}" for one in cpu)] for node in cpu[0]])
    disk = [disk_bytes(n, rates) for n in counts]
    print("\nTB on disk")
    rows = [[name, *(f"{one[name] / 1e12:,.3f}" for one in disk)] for name in disk[0]]
    total = ["all, share of the text", *(f"{sum(one.values()) / 1e12:,.2f}, {sum(one.values()) / n / rates.bytes_per_document:.1%}" for n, one in zip(counts, disk, strict=True))]  # fmt: skip
    table(head, [*rows, total])
    print("\nBarrier, minutes, after the last signature")
    table(
        ["cluster", "part", *head[1:]],
        [
            [name, part, *(f"{barrier_seconds(n, cluster, rates)[part] / 60:,.1f}" for n in counts)]
            for name, cluster in CLUSTERS.items()
            for part in barrier_seconds(1.0, cluster, rates)
        ],
    )
    print("\nWhat grows with shards and partitions")
    both = [limits(n, rates) for n in counts]
    table(["", *head[1:], "why it matters"], [[a[0], a[1], b[1], a[2]] for a, b in zip(*both, strict=True)])


if __name__ == "__main__":
    main()
