"""The nodes of a workflow in an order in which each comes after its inputs."""

from __future__ import annotations

from collections.abc import Sequence

from pipeline.errors import RunFailedError, UserError
from pipeline.value import artifacts
from pipeline.work import Node


def ordered(nodes: Sequence[Node]) -> list[Node]:
    """Nodes after their inputs.

    Raises:
        UserError: a name is unknown or stands twice, or the nodes form a cycle.
    """
    by_name = {node.name: node for node in nodes}
    if len(by_name) != len(nodes):
        names = [node.name for node in nodes]
        msg = f"steps named twice: {sorted({name for name in names if names.count(name) > 1})}"
        raise UserError(msg)
    order: dict[str, Node] = {}
    visiting: list[str] = []

    def visit(name: str, wanted_by: str) -> None:
        if name in order:
            return
        if name not in by_name:
            msg = f"step {wanted_by!r} takes its input from {name!r}, which does not exist"
            raise UserError(msg)
        if name in visiting:
            msg = f"steps form a cycle: {' -> '.join([*visiting[visiting.index(name) :], name])}; take one link out"
            raise UserError(msg)
        visiting.append(name)
        node = by_name[name]
        needed = [*node.inputs.values(), *(a.step for a in artifacts(node.work) if a.step is not None)]
        for source in needed:
            visit(source, name)
        visiting.pop()
        order[name] = node

    for node in nodes:
        visit(node.name, node.name)
    if not order:
        msg = "the workflow has no steps"
        raise RunFailedError(msg)
    return list(order.values())
