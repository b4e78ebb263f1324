"""A recipe in YAML becomes a workflow, or one error message that names every mistake with its line."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from operators.catalogue import load_operator
from operators.dedup.verb import Dedup
from pipeline.errors import UserError
from pipeline.operator import Filter, Map, Operator
from pipeline.pretrain.work import Pretrain
from pipeline.readers.read import Read
from pipeline.value import Artifact, Value, artifacts, replace_artifacts
from pipeline.work import offered, owner
from pipeline.workflow import Expect, Step, Workflow
from pipeline.works import Apply, ReadWork
from workflows.overrides import apply_overrides
from workflows.problems import explain, near
from workflows.upstream import mistakes
from workflows.verbs import VERBS
from workflows.yaml_marks import Marked, parse
from workflows.yaml_marks import Path as KeyPath

_TOP = ("name", "seed", "steps")
_APPLY = ("keep_dropped_text", "limits")
"""Keys of a step with ``apply``, beside the list of operators."""
_STEP = ("from", "expect", *_APPLY)
_ARTIFACT = ("artifact", "a tokenizer or a classifier")  # kind of the steps that others name in their parameters


def load(path: str | Path, overrides: Sequence[str] = ()) -> Workflow:
    """Read a recipe.

    overrides: ``STEP.OPERATOR.PARAM=VALUE`` or ``STEP.VERB.PARAM=VALUE``, applied before anything is checked.

    Raises:
        UserError: with every mistake found, each as ``file:line: what``, and the nearest name where one was misspelt.
    """
    path = Path(path)
    if not path.is_file():
        msg = f"no recipe at {path} (looked from {Path.cwd()}); give the path of a YAML file"
        raise UserError(msg)
    try:
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        msg = f"{path}: not UTF-8 at byte {error.start}; save the recipe as UTF-8"
        raise UserError(msg) from error
    builder = _Builder(path, parse(text))
    builder.override(overrides)
    return builder.build()


@dataclass
class _Builder:
    path: Path
    marked: Marked
    problems: list[tuple[int, str]] = field(default_factory=list)

    def override(self, overrides: Sequence[str]) -> None:
        if not self.marked.errors and isinstance(self.marked.data, dict):
            apply_overrides(self.marked, overrides)

    def problem(self, key: KeyPath, text: str) -> None:
        self.problems.append((self.marked.line(key), text))

    def build(self) -> Workflow:
        self.problems.extend(self.marked.errors)
        data = self.marked.data
        steps: list[Step] = []
        if isinstance(data, Mapping):
            self._check_keys(data, (), _TOP, "the recipe")
            seed = data.get("seed", 0)
            if type(seed) is not int or seed < 0:
                self.problem(("seed",), f"seed: needs an integer from 0, got {seed!r}")
            steps = self._steps(data.get("steps"))
        elif data is None and not self.problems:
            self.problem((), f"the recipe is empty; it is a mapping with {', '.join(_TOP)}")
        elif not self.problems:
            self.problem((), f"a recipe is a mapping with {', '.join(_TOP)}, got {type(data).__name__}")
        workflow = None
        if not self.problems:
            base = str(self.path.resolve().parent)
            made = self._value(
                Workflow,
                {
                    "name": data.get("name", self.path.stem),
                    "seed": data.get("seed", 0),
                    "base_dir": base,
                    "steps": tuple(steps),
                },
                (),
            )
            workflow = made if isinstance(made, Workflow) else None
        if self.problems or workflow is None:
            lines = [f"{self.path}:{line}: {text}" for line, text in sorted(set(self.problems))]
            count = f"{len(lines)} mistakes" if len(lines) > 1 else "1 mistake"
            msg = f"{count} in the recipe:\n  " + "\n  ".join(lines)
            raise UserError(msg)
        return workflow

    # -- steps ----------------------------------------------------------------------------------------------------

    def _steps(self, data: Any) -> list[Step]:
        if not isinstance(data, Mapping) or not data:
            self.problem(("steps",), "steps: needs a mapping of step names to steps")
            return []
        steps = [step for name, body in data.items() if (step := self._step(name, body))]
        names = {str(name) for name in data}
        self._check_links(steps, names, data)
        self.problems.extend((self.marked.line(("steps", *place)), text) for place, text in mistakes(steps))
        return steps

    def _step(self, name: str, body: Any) -> Step | None:
        key: KeyPath = ("steps", name)
        if not isinstance(body, Mapping):
            self.problem(key, f"step {name!r} needs a verb, one of: {', '.join(['apply', *VERBS])}")
            return None
        known = [*_STEP, "apply", *VERBS]
        self._check_keys(body, key, known, f"step {name!r}")
        verbs = [verb for verb in body if verb in VERBS or verb == "apply"]
        if len(verbs) != 1:
            if verbs or set(body) <= set(known):
                self.problem(key, f"step {name!r} needs exactly one verb, has {', '.join(verbs) or 'none'}")
            return None
        before = len(self.problems)
        verb = self._verb(name, verbs[0], body)
        expect = self._value(Expect, body.get("expect") or {}, (*key, "expect"))
        self._check_from(name, body, reads=verbs[0] == "read")
        if len(self.problems) > before or verb is None:
            return None
        made = self._value(Step, {"name": name, "source": body.get("from"), "verb": verb, "expect": expect}, key)
        return made if isinstance(made, Step) else None

    def _check_from(self, name: str, body: Mapping[str, Any], *, reads: bool) -> None:
        key, source = ("steps", name, "from"), body.get("from")
        if reads and "from" in body:
            self.problem(key, f"step {name!r} reads, so it takes no `from`")
        elif not reads and source is None:
            self.problem(key[:2], f"step {name!r} needs `from`: the step it takes its documents from")
        elif not reads and not isinstance(source, str):
            joined = "; sources are joined by listing several paths in one read"
            self.problem(key, f"step {name!r}: `from` names one step only, got {source!r}{joined}")

    def _verb(self, name: str, verb: str, body: Mapping[str, Any]) -> Value | None:
        key: KeyPath = ("steps", name, verb)
        beside = {name: body[name] for name in _APPLY if name in body}
        for misplaced in beside if verb != "apply" else ():
            self.problem(("steps", name, misplaced), f"{misplaced} belongs to a step with `apply`")
        if verb == "apply":
            operators = self._operators(body["apply"], key)
            return self._value(Apply, {"operators": tuple(operators), **beside}, key)
        parameters = body[verb] if body[verb] is not None else {}
        if verb == "read" and isinstance(parameters, Mapping):
            parameters = {"source": name, **parameters}
        value = self._value(VERBS[verb], parameters, key)
        if isinstance(value, Read):
            return ReadWork(read=value)
        try:
            value = value.located(self.path.resolve().parent) if isinstance(value, Dedup | Pretrain) else value
        except UserError as error:
            self.problem((*key, "against" if verb == "dedup" else "start_from"), str(error))
        return self._with_paths(value, key) if value is not None else None

    def _operators(self, items: Any, key: KeyPath) -> list[Operator]:
        if not isinstance(items, list) or not items:
            form = "gopher_quality, scrub_pii"
            if isinstance(items, str) and items:
                form = items
            elif isinstance(items, Mapping) and items:
                form = ", ".join(f"{name}: {{...}}" for name in items)
            self.problem(key, f"step {key[1]!r}: apply needs a list of operators, `apply: [{form}]`, got {items!r}")
            return []
        found = [self._operator(item, (*key, number)) for number, item in enumerate(items)]
        operators = [operator for operator in found if operator is not None]
        names = [operator.name for operator in operators]
        for twice in sorted({name for name in names if names.count(name) > 1}):
            self.problem((*key, len(names) - 1), f"operator {twice!r} stands twice; give one of them `as: other_name`")
        return operators

    def _operator(self, item: Any, key: KeyPath) -> Operator | None:
        if isinstance(item, str):
            item = {item: {}}
        if isinstance(item, Mapping) and "use" in item:
            name, parameters = item["use"], {k: v for k, v in item.items() if k != "use"}
        elif isinstance(item, Mapping) and len(item) == 1:
            name, parameters = next(iter(item.items()))
        else:
            self.problem(key, "an operator is `name`, `name: {parameters}` or `use: package.module:Class`")
            return None
        if not isinstance(name, str):
            self.problem((*key, "use"), f"use: needs the text `package.module:Class`, got {name!r}")
            return None
        try:
            cls = load_operator(name)
        except LookupError as error:
            self.problem((*key, name), f"unknown operator {name!r}{near(name, error.args[0])}")
            return None
        except (ImportError, ValueError, TypeError) as error:  # the latter two: an empty or a relative module
            self.problem((*key, "use"), f"cannot import {name!r}: {error}")
            return None
        inner = key if isinstance(item, Mapping) and "use" in item else (*key, name)
        value = self._value(cls, parameters if parameters is not None else {}, inner)
        value = self._with_paths(value, inner) if value is not None else None
        if isinstance(value, Filter):
            self._check_bounds(value, inner)
        return value if isinstance(value, Map | Filter) else None

    def _check_bounds(self, value: Filter, key: KeyPath) -> None:
        """A file of limits is read here, so that what is wrong with it is said before anything runs."""
        if any(artifact.file is not None and not Path(artifact.file).is_file() for artifact in artifacts(value)):
            return  # said already
        try:
            _ = value.bounds
        except (UserError, ValueError) as error:
            self.problem(key, str(error))

    def _with_paths(self, value: Value, key: KeyPath) -> Value:
        """Artifacts that are files: relative to the recipe, and there."""
        found: dict[Artifact, Artifact] = {}
        for artifact in artifacts(value):
            if artifact.file is not None:
                place = self.path.resolve().parent / artifact.file
                if not place.is_file():
                    self.problem(key, f"no file at {place}")
                found[artifact] = artifact.model_copy(update={"file": str(place)})
        return replace_artifacts(value, found)

    # -- links between steps --------------------------------------------------------------------------------------

    def _check_links(self, steps: Sequence[Step], names: set[str], data: Mapping[str, Any]) -> None:
        by_name = {step.name: step for step in steps}
        links: dict[str, list[tuple[str, KeyPath]]] = {}
        for name, body in data.items():
            source = body.get("from") if isinstance(body, Mapping) else None
            if isinstance(source, str):
                links.setdefault(name, []).append((source, ("steps", name, "from")))
        for step in steps:
            for artifact in artifacts(step.verb):
                if artifact.step is not None:
                    links.setdefault(step.name, []).append((artifact.step, ("steps", step.name)))
                    self._check_artifact(step, artifact.step, by_name)
        known = names.union(*(offered(step.nodes(0)) for step in steps))
        for name, targets in links.items():
            for target, key in targets:
                unknown = owner(target) in by_name or owner(target) not in names  # else its step has mistakes to mend
                if target not in known and unknown:
                    self.problem(key, f"step {name!r} takes from {target!r}, which does not exist{near(target, known)}")
        self._check_cycle({name: [owner(target) for target, _ in targets] for name, targets in links.items()})

    def _check_artifact(self, step: Step, name: str, by_name: Mapping[str, Step]) -> None:
        maker = by_name.get(owner(name))
        kind, made = ("model", "a model") if isinstance(step.verb, Pretrain) else _ARTIFACT
        if maker is not None and getattr(maker.verb, "kind", None) != kind:
            self.problem(("steps", step.name), f"{{step: {name}}} must be a step that trains {made}")

    def _check_cycle(self, links: Mapping[str, list[str]]) -> None:
        done: set[str] = set()
        for start in links:
            path = [start]
            stack = [iter(links[start])]
            while stack:
                target = next(stack[-1], None)
                if target is None:
                    done.add(path.pop())
                    stack.pop()
                elif target in path:
                    circle = " -> ".join([*path[path.index(target) :], target])
                    self.problem(("steps", target, "from"), f"steps form a cycle: {circle}; take one link out")
                    return
                elif target not in done and target in links:
                    path.append(target)
                    stack.append(iter(links[target]))

    # -- values ---------------------------------------------------------------------------------------------------

    def _check_keys(self, data: Mapping[str, Any], key: KeyPath, known: Sequence[str], what: str) -> None:
        for name in data:
            if name not in known:
                self.problem((*key, name), f"unknown key {name!r} in {what}{near(str(name), known)}")

    def _value(self, cls: type[Value], parameters: Any, key: KeyPath) -> Value | None:
        if not isinstance(parameters, Mapping):
            self.problem(key, f"{key[-1] if key else 'recipe'}: needs a mapping of parameters, got {parameters!r}")
            return None
        given = {str(name): value for name, value in parameters.items()}
        try:
            return cls(**given)
        except ValidationError as error:
            for place, text in explain(cls, error, given):
                whole = (*key, *place)
                label = ".".join(str(part) for part in (whole[1:] if key else whole) if not isinstance(part, int))
                self.problem(whole, f"{label or 'the recipe'}: {text}")
        except TypeError as error:
            self.problem(key, str(error))
        return None
