"""Parameters by language: the profiles that come with the package, and a user's own."""

from __future__ import annotations

import difflib
import hashlib
from collections.abc import Callable, Mapping, Sequence
from functools import cache, lru_cache
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple, Protocol, TypeVar

import numpy as np
import numpy.typing as npt
import orjson
import pyarrow as pa
from pydantic import AfterValidator, ValidationError

from pipeline.errors import RunFailedError, UserError
from pipeline.language_labels import places
from pipeline.named_files import FileState, content, file_state
from pipeline.operator import Bound, snake_case
from pipeline.rejects import languages
from pipeline.value import Artifact

PROFILES_SHA256 = {"fineweb2": "6dcdaf0eb0ee3f3885bba0ae35ef27b23fefe6520382124e4e1824b588eed12e"}
"""Of the shipped profiles; they stand in the source, so that another number is another fingerprint."""

STOP_WORDS = "stop_words"
"""The parameter of a profile that is a list of words; every other one is a number, or null for no limit."""

Parameters = Mapping[str, Any]
Profile = Mapping[str, Mapping[str, Parameters]]
"""Label to operator to parameter to value."""


def _no_step(value: object) -> object:
    if isinstance(value, Artifact) and value.file is None:
        msg = f"a profile is a file, not the step {value.step!r}; name {{file: profile.json}}"
        raise ValueError(msg)
    return value


ByLanguage = Annotated[Literal["fineweb2"] | Artifact | None, AfterValidator(_no_step)]
"""A shipped profile by name, ``{file: profile.json}``, or None: every row is judged by the operator's own parameters."""


class Rule(NamedTuple):
    """One limit and the parameter that sets it, ``min_*`` or ``max_*``; a limit of None is off."""

    parameter: str
    measure: str
    reason: str
    limit: float | None
    exclusive: bool = False

    @property
    def limits(self) -> tuple[float | None, float | None]:
        """Smallest and largest value that passes."""
        return (self.limit, None) if self.parameter.startswith("min_") else (None, self.limit)


class Profiled(Protocol):
    """What an operator needs to have for a profile to work on it."""

    @property
    def by_language(self) -> ByLanguage:
        """The profile."""
        ...


_T = TypeVar("_T", bound=Profiled)


def bounds_of(operator: _T, rules: Callable[[_T], Sequence[Rule]]) -> tuple[Bound, ...]:
    """The bounds of an operator: its own limits, and those of its profile for the languages that the profile names.

    A language stands in a bound where the profile sets the bound's parameter for it, whatever the number: one that equals
    the operator's own stays when that moves.
    rules: the limits of an operator from its parameters, off or not, always in the same order.

    Raises:
        UserError: the profile cannot be read, or names what the operator does not have.
    """
    return _bounds_of(operator, rules, _state(operator.by_language))


@lru_cache(maxsize=256)
def _bounds_of(operator: Profiled, rules: Callable[[Any], Sequence[Rule]], state: FileState) -> tuple[Bound, ...]:
    del state  # part of the key only
    theirs = [(label, own, rules(_with(operator, label, own))) for label, own in parameters(operator).items()]
    found = []
    for k, rule in enumerate(rules(operator)):
        named = tuple((label, *row[k].limits) for label, own, row in theirs if rule.parameter in own)
        low, high = rule.limits
        if any(limit is not None for limit in (low, high, *(side for _, *sides in named for side in sides))):
            found.append(
                Bound(rule.measure, reason=rule.reason, min=low, max=high, exclusive=rule.exclusive, by_language=named)
            )
    return tuple(found)


def _with(operator: Any, label: str, own: Parameters) -> Any:
    """The operator with the parameters of a language, validated like any others."""
    fields = {name: getattr(operator, name) for name in type(operator).model_fields}
    try:
        return type(operator)(**{**fields, **own})
    except ValidationError as error:
        msg = f"profile {_place(operator.by_language)}, {label}: {error}"
        raise UserError(msg) from error


def stop_words_of(operator: Profiled) -> tuple[tuple[str, ...], tuple[tuple[str, ...], ...]]:
    """The languages for which an operator's profile has a list of stop words, and the lists."""
    found = {label: own[STOP_WORDS] for label, own in parameters(operator).items() if STOP_WORDS in own}
    return tuple(found), tuple(found.values())


def row_of_label(docs: pa.Table, labels: Sequence[str]) -> npt.NDArray[np.int64]:
    """Where each document's language stands among the labels, -1 where it does not: int64 (rows,); see ``language_labels``."""
    return places(languages(docs), labels)


def parameters(operator: Profiled) -> dict[str, dict[str, Any]]:
    """The parameters that an operator's profile sets, by language.

    Raises:
        UserError: the profile cannot be read, or names a parameter that is no limit of the operator.
        RunFailedError: the shipped profile is not the one of this version.
    """
    if operator.by_language is None:
        return {}
    name, known = snake_case(type(operator).__name__), _settable(type(operator))
    found = {}
    for label, operators in _profile(operator.by_language).items():
        own = dict(operators.get(name, {}))
        for key in own:
            if key not in known:
                near = difflib.get_close_matches(key, known, 1, 0.4) or known
                msg = f"profile {_place(operator.by_language)}, {label}: {name} has no limit {key!r}; near: {', '.join(near)}"
                raise UserError(msg)
        if own:
            found[label] = own
    return found


def _settable(cls: Any) -> list[str]:
    limits = [field for field in cls.model_fields if field.startswith(("min_", "max_"))]
    return [field for field in (*limits, STOP_WORDS) if field in cls.model_fields and field not in cls.measuring]


def _place(profile: str | Artifact) -> str:
    return profile if isinstance(profile, str) else str(profile.file)


def _state(profile: ByLanguage) -> FileState:
    """What tells whether a profile still says the same."""
    return file_state(profile) if isinstance(profile, Artifact) else FileState(str(profile), None)


def _profile(profile: str | Artifact) -> Profile:
    return _shipped(profile) if isinstance(profile, str) else _read(file_state(profile))


@cache
def _shipped(name: str) -> Profile:
    contents = _contents(name)
    if (found := _sha256(contents)) != PROFILES_SHA256[name]:
        msg = f"profile {name} has sha256 {found}, expected {PROFILES_SHA256[name]}; install the package again"
        raise RunFailedError(msg)
    whole: dict[str, Mapping[str, Parameters]] = {}
    for path, found_in_it in contents.items():
        whole |= _parsed(found_in_it, str(path))
    return whole


def profile_sha256(name: str) -> str:
    """sha256 over names and bytes of the files of a shipped profile."""
    return _sha256(_contents(name))


def _contents(name: str) -> dict[Path, bytes]:
    folder = Path(__file__).parent.parent / "data" / name
    return {path: path.read_bytes() for path in sorted(folder.glob("*.json"))}


def _sha256(contents: Mapping[Path, bytes]) -> str:
    whole = hashlib.sha256()
    for path, found in contents.items():
        whole.update(f"{path.stem} {len(found)}\n".encode() + found)
    return whole.hexdigest()


@lru_cache(maxsize=256)
def _read(file: FileState) -> Profile:
    try:
        found = content(file)
    except OSError as error:
        raise _unreadable(file.path, error) from error
    return _parsed(found, file.path)


def _parsed(found: bytes, path: str) -> Profile:
    try:
        return {label: _language(label, entry) for label, entry in orjson.loads(found).items()}
    except (ValueError, AttributeError, TypeError) as error:
        raise _unreadable(path, error) from error


def _unreadable(path: str, error: Exception) -> UserError:
    return UserError(
        f"cannot read the language profile {path}: {error}; it must be JSON, "
        '{"de": {"gopher_quality": {"min_word_chars": 3, "stop_words": ["der", "die"]}}}'
    )


def _language(label: str, entry: Mapping[str, Any]) -> dict[str, Parameters]:
    """The values of one language, without what stands beside them for readers."""
    sources = entry.get("sources", {})
    operators: dict[str, Parameters] = {}
    for name, values in entry.items():
        if name != "sources":
            operators[name] = {key: _value(f"{label}.{name}.{key}", value, sources) for key, value in values.items()}
    return operators


def _value(place: str, value: Any, sources: Mapping[str, Any]) -> Any:
    """A value written plainly, or as ``{"value": 0.3, "source": "ours"}`` with the source among the ``sources``."""
    if isinstance(value, dict):
        if set(value) != {"value", "source"} or value["source"] not in sources:
            msg = f"{place} must be a value, or a value with one of the sources {sorted(sources)}"
            raise ValueError(msg)
        value = value["value"]
    if place.endswith(f".{STOP_WORDS}"):
        if not isinstance(value, list) or not all(isinstance(word, str) for word in value):
            msg = f"{place} must be a list of words"
            raise ValueError(msg)
        return tuple(value)
    if value is not None and (isinstance(value, bool) or not isinstance(value, int | float)):
        msg = f"{place} must be a number or null, not {value!r}"
        raise ValueError(msg)
    return value
