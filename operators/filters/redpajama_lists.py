"""The lists that RedPajama-V2's signals look words and hosts up in."""

from __future__ import annotations

import hashlib
import math
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import xxhash

from pipeline.errors import RunFailedError, UserError
from pipeline.named_files import FileState, content

LISTS_SHA256 = "8908e46b2590ab6a49753028582b03f5955d4ac274ecaee4e01c4fff5c3a34dc"
"""Of the shipped lists used here; it stands in the source, so that another list is another fingerprint."""

STOP_WORD_LANGUAGES = ("de", "en", "es", "fr", "it", "zh")
BLOCK_LIST_LANGUAGES = ("de", "en", "es", "fr", "it")

_MAX_CATEGORIES = 62


class Lists(NamedTuple):
    """Words by language."""

    stop_words: dict[str, tuple[str, ...]]
    blocked: dict[str, tuple[str, ...]]


@cache
def shipped_lists() -> Lists:
    """The stop words of stopwords-json and the block lists of LDNOOBW.

    Raises:
        RunFailedError: they are not those of this version.
    """
    folder, whole = Path(__file__).parent.parent / "data", hashlib.sha256()
    lists = Lists({}, {})
    for words, where, languages in (
        (lists.stop_words, "stop_words", STOP_WORD_LANGUAGES),
        (lists.blocked, "toxicity", BLOCK_LIST_LANGUAGES),
    ):
        for language in languages:
            content = (folder / where / f"{language}.txt").read_bytes()
            whole.update(f"{where} {language} {len(content)}\n".encode() + content)
            words[language] = tuple(line for line in content.decode().split("\n") if line)
    if whole.hexdigest() != LISTS_SHA256:
        msg = f"the word lists in {folder} have sha256 {whole.hexdigest()}, expected {LISTS_SHA256}; install the package again"
        raise RunFailedError(msg)
    return lists


class Domains(NamedTuple):
    """D listed hosts by their 64-bit hashes."""

    hashes: npt.NDArray[np.uint64]
    """uint64 (D,), ascending."""
    hosts: Any
    """large_string (D,), in that order."""
    ids: npt.NDArray[np.int64]
    """int64 (D,)"""


@cache
def read_domains(file: FileState) -> Domains:
    """Hosts of a file with lines ``host<TAB or blank>category``, each with the number of its set of categories.

    Lines that begin with # and blank ones are passed over. The sets of categories are numbered from 0 as RedPajama-V2
    does: those of one category first, then those of two and so on, each in the order of the sorted names. The result
    is kept for the life of the process as long as the file stays as it is.

    Raises:
        UserError: no such file, a line of another form, more than 62 categories, changed since the run was planned.
    """
    path = file.path
    try:
        lines = content(file).decode().replace("\r\n", "\n").replace("\r", "\n").split("\n")
        text: Any = pa.array(lines, pa.large_string())
    except (OSError, UnicodeDecodeError) as error:
        msg = f"cannot read the list of domains {path}: {error}; it must be UTF-8, host and category on a line"
        raise UserError(msg) from error
    pairs = pc.extract_regex(text, r"^\s*(?P<host>[^\s#]\S*)[ \t]+(?P<category>\S+)\s*$")
    wrong = pc.and_(pc.is_null(pairs), pc.invert(pc.match_substring_regex(text, r"^\s*(#.*)?$")))
    if (first := pc.index(wrong, True).as_py()) >= 0:
        msg = f"{path}, line {first + 1}: {text[first].as_py()!r} is not a host, a tab or blank, and a category"
        raise UserError(msg)
    pairs = pairs.drop_null()
    return _by_hash(pc.ascii_lower(pc.struct_field(pairs, "host")), pc.struct_field(pairs, "category"), path)


def _by_hash(hosts: Any, categories: Any, path: str) -> Domains:
    names = sorted(set(pc.unique(categories).to_pylist()))
    if len(names) > _MAX_CATEGORIES:
        msg = f"{path} has {len(names)} categories, at most {_MAX_CATEGORIES} can be numbered; leave some out"
        raise UserError(msg)
    bits = np.left_shift(1, pc.index_in(categories, pa.array(names, pa.large_string())).to_numpy().astype(np.int64))
    pairs = pa.table({"host": hosts, "bit": pa.array(bits, pa.int64())}).group_by(["host", "bit"]).aggregate([])
    sets = pairs.group_by("host").aggregate([("bit", "sum")]).combine_chunks()
    distinct, which = np.unique(sets["bit_sum"].to_numpy(), return_inverse=True)
    ids = np.array([_set_number(int(one), len(names)) for one in distinct], np.int64)[which]
    hashes = _hashes(sets["host"])
    order = np.argsort(hashes)
    return Domains(hashes[order], sets["host"].combine_chunks().take(pa.array(order)), ids[order])


def _set_number(bits: int, total: int) -> int:
    """Position of a set of categories among all sets of 1, 2, ... of ``total``, each in lexicographic order."""
    chosen = [k for k in range(total) if bits >> k & 1]
    number = sum(math.comb(total, size) for size in range(1, len(chosen)))
    last = -1
    for place, k in enumerate(chosen):
        number += sum(math.comb(total - skipped - 1, len(chosen) - place - 1) for skipped in range(last + 1, k))
        last = k
    return number


def _hashes(hosts: Any) -> npt.NDArray[np.uint64]:
    """Of a column of hosts, a null taken for an empty one."""
    digests = (xxhash.xxh3_64_intdigest((host or "").encode()) for host in hosts.to_pylist())
    return np.fromiter(digests, np.uint64, len(hosts))


def hosts_of(urls: Any) -> Any:
    """Host of each URL in lower case, without user and port; null where there is none."""
    parts = pc.extract_regex(urls.cast(pa.large_string()), r"^[^:/?#]+://(?:[^/?#@]*@)?(?P<host>[^/?#:]+)")
    return pc.ascii_lower(pc.struct_field(parts, "host"))


def domain_ids(urls: Any, listed: Domains) -> Any:
    """The number of the set of categories of each URL's host, int64; null where it is not listed."""
    hosts = hosts_of(urls)
    if not listed.hashes.size:
        return pa.nulls(len(hosts), pa.int64())
    hashes = _hashes(hosts)
    rows = np.minimum(np.searchsorted(listed.hashes, hashes), listed.hashes.size - 1)
    found = pc.fill_null(pc.equal(hosts, listed.hosts.take(pa.array(rows))), False).to_numpy(zero_copy_only=False)
    return pa.array(listed.ids[rows], mask=~found)
