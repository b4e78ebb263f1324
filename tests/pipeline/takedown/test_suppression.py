"""Lists of what must not come back: how URLs are compared, what a line is, what reaches a reader."""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline.errors import UserError
from pipeline.inputs import Piece
from pipeline.readers.read import Read, read_shard
from pipeline.takedown.suppression import Register, Suppression, of, read_list


def test_a_null_url_is_none() -> None:
    urls = pa.array([None, "http://a.example/", None], pa.string())
    assert of(urls=["http://a.example/"]).rows(pa.table({"url": urls})).tolist() == [False, True, False]


@pytest.mark.parametrize(
    ("listed", "page"),
    [
        ("https://m\u00fcnchen.de/a", "https://xn--mnchen-3ya.de/a"),
        ("https://a.example/\u4e2d\u56fd", "https://a.example/%E4%B8%AD%E5%9B%BD"),
        ("https://a.example/p/", "https://a.example/p"),
        ("https://a.example/p/", "HTTP://A.Example:80/p#top"),
        ("https://a.example/%7ejoe", "https://a.example/~joe"),
    ],
)
def test_one_page_by_either_of_two_urls(listed: str, page: str) -> None:
    for one, other in ((listed, page), (page, listed)):
        found = of(urls=[one]).rows(pa.table({"url": [other, "https://a.example/other"]}))
        assert found.tolist() == [True, False]


def test_a_domain_of_other_letters_by_its_ascii_form() -> None:
    urls = ["https://xn--mnchen-3ya.de/a", "http://www.M\u00dcNCHEN.de", "http://munchen.de/"]
    for name in ("m\u00fcnchen.de", "*.M\u00fcnchen.de.", "XN--mnchen-3ya.de"):
        assert of(domains=[name]).rows(pa.table({"url": urls})).tolist() == [True, True, False]
    assert of(domains=["m\u00fcnchen.de"], request=3).request(urls[1]) == 3


def test_a_domain_is_itself_and_what_lies_below() -> None:
    urls = [
        "http://worse.example/a", "https://a.b.WORSE.example:81/", "http://notworse.example/", "http://example/",
        "http://x.example/worse.example/", None, "mailto:worse.example", "http://worse.example.com/",
    ]  # fmt: skip
    rows = of(domains=["*.Worse.example."]).rows(pa.table({"url": pa.array(urls, pa.string())}))
    assert rows.tolist() == [True, True, False, False, False, False, False, False]


def test_ids_of_both_binary_types_and_nulls() -> None:
    wanted = of(ids=["00" * 15 + "07"])
    ids = [bytes(15) + b"\7", None, bytes(16)]
    for kind in (pa.binary(16), pa.binary()):
        assert wanted.rows(pa.table({"id": pa.array(ids, kind)})).tolist() == [True, False, False]


@pytest.mark.parametrize(
    ("ids", "urls", "domains"),
    [
        (["abc"], [], []),
        ([], ["no slash"], []),
        ([], ["http://a.example/x y"], []),
        ([], [], ["http://a.example"]),
        ([], [], ["com"]),
    ],
)
def test_a_line_that_is_none_is_refused(ids: list[str], urls: list[str], domains: list[str]) -> None:
    with pytest.raises(UserError, match=r"cannot be taken: .*: not a"):
        of(ids=ids, urls=urls, domains=domains)


def test_every_line_that_is_none_is_named() -> None:
    with pytest.raises(UserError, match=r"3 lines .*'abc', 'xyz': not an id .*'no slash': not a URL"):
        of(ids=["abc", "AB" * 16, "xyz"], urls=["http://a.example/", "no slash"])


def test_lines_and_the_list_of_a_run_say_the_same(tmp_path: Path) -> None:
    lines = tmp_path / "lines"
    lines.write_text(
        "# asked for on Monday\n\nhttp://a.example/x\n worse.example \n" + "AB" * 16 + "\n", encoding="utf-8"
    )
    found = read_list(lines)
    assert found == of(ids=["ab" * 16], urls=["https://a.example/x"], domains=["worse.example"])
    listed = tmp_path / "suppressed.json"
    listed.write_bytes(Register(2, found).to_bytes())
    assert read_list(listed) == found
    assert b"a.example/x" not in listed.read_bytes()


def test_the_request_of_a_url_an_id_and_a_domain() -> None:
    known = Suppression(
        {b"\1" * 16: 1}, of(urls=["http://a.example/x"], request=2).urls, of(domains=["b.example"], request=3).domains
    )
    queries = ("01" * 16, "https://a.example/x#y", "http://www.b.example/z", "http://c.example/", "02" * 16)
    assert [known.request(query) for query in queries] == [1, 2, 3, None, None]


def rows() -> list[dict[str, str]]:
    return [{"url": f"http://{host}/{k}", "text": f"text {k}"} for k, host in enumerate(("a.example", "b.example") * 3)]


def write(folder: Path, kind: str) -> Path:
    if kind == "jsonl":
        path = folder / "in.jsonl"
        path.write_text("".join(json.dumps(row) + "\n" for row in rows()) + '{"no": "text"}\n', encoding="utf-8")
        return path
    path = folder / "in.parquet"
    pq.write_table(pa.Table.from_pylist(rows()), path)
    return path


@pytest.mark.parametrize("kind", ["jsonl", "parquet"])
def test_readers_leave_out_what_is_listed_and_count_it(tmp_path: Path, kind: str) -> None:
    listed = tmp_path / "list"
    listed.write_text("b.example\n", encoding="utf-8")
    path = write(tmp_path, kind)
    plain = Read.model_validate({"format": kind, "paths": [str(path)], "source": "s"})
    options = Read.model_validate({**plain.model_dump(), "suppress": str(listed)})
    pieces = [Piece(path=str(path))]
    listed_out = list(read_shard(options, pieces))
    by_run = list(read_shard(plain, pieces, of(domains=["b.example"])))
    for batches in (listed_out, by_run):
        assert [url for b in batches for url in b.documents["url"].to_pylist()] == [
            f"http://a.example/{k}" for k in (0, 2, 4)
        ]
        assert sum(b.suppressed for b in batches) == 3
        assert sum(b.suppressed_bytes for b in batches) == 3 * len("text 1")
    assert sum(b.suppressed for b in read_shard(plain, pieces)) == 0
