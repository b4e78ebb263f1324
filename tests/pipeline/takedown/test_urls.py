"""The normal form of URLs, and the search of columns for those that can be meant."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.takedown.suppression import of
from pipeline.takedown.urls import Spans, host_of, normal, url_hashes, url_key

KEYS = {
    "http://ex.example/A?b=1#c": "ex.example/A?b=1",
    "HTTPS://User:pw@EX.example:443/A": "ex.example/A",
    "http://ex.example:80": "ex.example",
    "http://ex.example:0080/": "ex.example",
    "http://ex.example:8080/x": "ex.example:8080/x",
    "//ex.example?q": "ex.example?q",
    "http://ex.example/?q": "ex.example?q",
    "http://ex.example/p/?q=/": "ex.example/p?q=/",
    "http://ex.example/p?": "ex.example/p",
    "ex.example./x": "ex.example/x",
    "http://[2001:DB8::1]:80/x": "[2001:db8::1]/x",
    "http://m\u00fcnchen.example/\u00fc": "xn--mnchen-3ya.example/%C3%BC",
    "http://M\u00dcNCHEN.example/%c3%bc": "xn--mnchen-3ya.example/%C3%BC",
    "http://m%C3%BCnchen.example": "xn--mnchen-3ya.example",
    "http://stra\u00dfe.example": "xn--strae-oqa.example",  # IDNA 2008, as browsers have it
    "http://\u65e5\u672c\u3002example/": "xn--wgv71a.example",
    "http://\uff25\uff38.example/": "ex.example",
    "http://a.example/%7ejoe/%41%2f%2F": "a.example/~joe/A%2F%2F",
    "http://a.example/100%": "a.example/100%25",
    "http://a.example/a b|[c]": "a.example/a%20b%7C%5Bc%5D",
    "http://a.example/a/./b/../c": "a.example/a/c",
    "http://a.example/../x/%2E%2E/y": "a.example/y",
    "http://a.example//a//": "a.example//a",
    "http://a.example/?a+b=%2b&c=%26": "a.example?a+b=%2B&c=%26",
    " http://a.example/x\n": "a.example/x",
    "mailto:joe.example": "mailto/joe.example",
    "": "",
}


@pytest.mark.parametrize("url", list(KEYS), ids=range(len(KEYS)))
def test_urls_are_compared_in_one_normal_form(url: str) -> None:
    assert url_key(url) == KEYS[url]
    assert url_key(KEYS[url]) == KEYS[url]


PARTS = ["http://", "https://", "a", "B", ".", "..", "/", "//", "?", "#", "%", "%41", "%2f", "\u00fc", "-", ":80", "@",
         "x.example", "=", "&", " ", "_", "~"]  # fmt: skip
URLS = st.builds("http://a.example{}".format, st.lists(st.sampled_from(PARTS), max_size=8).map("".join)) | st.lists(
    st.sampled_from(PARTS), max_size=10
).map("".join)


@settings(deadline=None)
@given(st.lists(URLS, max_size=12), st.integers(0, 3))
def test_what_is_normal_already_lies_in_the_url_as_it_is(urls: list[str], skip: int) -> None:
    rows, spans = normal(pa.array(["skipped"] * skip + urls, pa.string()).slice(skip))
    found = [bytes(spans.data[a:b]).decode() for a, b in zip(spans.starts, spans.ends, strict=True)]
    assert found == [url_key(urls[row]) for row in rows]
    hosts = spans.hosts()
    found = [bytes(spans.data[a:b]).decode() for a, b in zip(hosts.starts, hosts.ends, strict=True)]
    assert found == [host_of(urls[row]) for row in rows]


def test_most_urls_of_a_crawl_are_normal_already() -> None:
    urls = ["http://help.gnome.org/users/a-b.html.zh_CN?print=1", "https://a.example", "https://a.example/", "http://a.example/b/c/",
            "http://a.example/p?x=http://b.example", "http://xn--mnchen-3ya.de/~joe/a,b;c=(1)"]  # fmt: skip
    assert normal(pa.array(urls))[0].tolist() == list(range(len(urls)))


@settings(deadline=None)
@given(st.lists(URLS, min_size=1, max_size=12), st.data())
def test_columns_are_searched_like_single_urls(urls: list[str], data: st.DataObject) -> None:
    listed = data.draw(st.lists(st.sampled_from(urls), max_size=3))
    wanted = of(urls=[url for url in listed if "/" in url and not any(c.isspace() for c in url)], domains=["x.example"])
    keys = {url_key(url) for url in listed if "/" in url and not any(c.isspace() for c in url)}
    expected = [
        url_key(url) in keys or host_of(url) == "x.example" or host_of(url).endswith(".x.example") for url in urls
    ]
    assert wanted.rows(pa.table({"url": pa.array(urls, pa.string())})).tolist() == expected


def test_the_short_hash_is_of_the_bytes_not_of_their_place() -> None:
    texts = [
        b"",
        b"a",
        b"aa",
        b"\0a",
        b"12345678",
        b"x12345678",
        b"123456789",
        b"q" * 256,
        b"q" * 257,
        b"p" + b"q" * 256,
    ]
    alone = [Spans.of(pa.array([text], pa.binary())).short()[0] for text in texts]
    assert Spans.of(pa.array([b"before", *texts], pa.binary()).slice(1)).short().tolist() == alone
    assert len(set(alone)) == len(texts) - 1  # the last two differ before their last 256 bytes only
    hashes = url_hashes([text.decode() for text in texts])
    assert len(set(hashes)) == len(texts)
    assert [np.frombuffer(one[:4], "<u4")[0] for one in hashes] == alone
