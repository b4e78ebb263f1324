"""Main text of pages, and what must not stop a run."""

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from operators.extract.html import ExtractHtml

PAGE = """<!doctype html><html><head><title> On  the
river </title><script>var a = "<div><div>";</script></head><body><nav><a href="/">Home</a> <a href="/x">Menu</a></nav>
<main><h1>On the river</h1><p>The boat left at dawn &amp; came back late.</p><p>Nobody had seen it go.</p>
<blockquote>They took two nets.</blockquote></main><footer>Imprint and privacy</footer></body></html>"""


def documents(*texts: str | None) -> pa.Table:
    return pa.table(
        {
            "id": pa.array([bytes([i]) * 16 for i in range(len(texts))], pa.binary(16)),
            "text": pa.array(texts, pa.large_string()),
        }
    )


def extract(text: str | None, **parameters: object) -> dict[str, object]:
    row = ExtractHtml(**parameters).map(documents(text)).to_pylist()[0]
    return {key.removeprefix("extract_html."): value for key, value in row.items() if key != "id"}


def test_keeps_the_main_text_and_the_title() -> None:
    found = extract(PAGE)
    assert found["title"] == "On the river"
    assert found["failure"] is None
    assert found["extractor"] == "resiliparse"
    assert found["html_bytes"] == len(PAGE.encode())
    text = str(found["text"])
    assert "The boat left at dawn & came back late." in text
    assert text.index("dawn") < text.index("Nobody") < text.index("two nets")
    assert "Menu" not in text
    assert "Imprint" not in text


def test_all_visible_text_on_demand() -> None:
    text = str(extract(PAGE, main_content=False)["text"])
    assert "Menu" in text
    assert "Imprint" in text
    assert "var a" not in text


def test_a_main_text_that_is_hardly_anything_is_not_believed() -> None:
    page = (
        "<body><main><p>12345</p></main><nav>" + "<p>" + "x" * 94 + "</p></nav></body>"
    )  # 5 of 100 characters, and a break
    assert extract(page, min_main_fraction=0.04)["text"] == "12345"
    found = extract(page, min_main_fraction=0.06)
    assert (found["text"], found["extractor"]) == ("12345\n\n" + "x" * 94, "resiliparse_all")


@pytest.mark.parametrize(
    "text", [None, "", "  \n\t", "<br>", "<!-- nothing -->", "<script>a()</script>", "<p>\u3000</p>"]
)
def test_nothing_left(text: str | None) -> None:
    found = extract(text)
    assert (found["text"], found["failure"], found["extractor"]) == (None, "no_text", None)


@pytest.mark.parametrize("text", ["plain words\n\n  5 < 6 and 7 > 2 &amp; so on \n", "数据 < 资料", "\u0301 a\x00b"])
def test_text_without_a_tag_stays(text: str) -> None:
    found = extract(text)
    assert (found["text"], found["failure"], found["extractor"]) == (text, None, "plain_text")


def test_the_limit_on_bytes_is_inclusive_and_cuts_nothing() -> None:
    page = "<p>é</p>"
    assert extract(page, max_bytes=9)["text"] == "é"
    found = extract(page, max_bytes=8)
    assert (found["text"], found["failure"], found["html_bytes"]) == (None, "too_large", 9)


@pytest.mark.parametrize(
    "page",
    [
        "<div>" * 100_000 + "x",
        "<div>x</p>" * 100_000,
        "<a><b>" * 50_000 + "</a>" * 50_000,
        "<DIV>" * 20_000 + "</DIV>" * 20_000,
        "".join(f"<p><b id={number}>x" for number in range(5_000)),
        "<div>" * 900 + "<p>a</p>" * 20_000,
        "<font><i><b><div>" * 20_000,
        "<p><div></p>" * 20_000,
        "<span><div></span>" * 20_000,
        "<td><div>" * 20_000,
        "<li><section>" * 20_000,
        "<div><table><tr><td></div>" * 20_000,
        "<!--a--><script>1<2</script><section title='a>b'>" * 20_000,
    ],
)
def test_deep_nesting_is_refused(page: str) -> None:
    found = extract(page)
    assert (found["text"], found["failure"]) == (None, "too_nested")


@pytest.mark.parametrize(
    "page",
    [
        "<p>word" * 20_000,
        "<ul>" + "<li>word" * 20_000,
        "<table>" + "<tr><td>word" * 10_000,
        "<div><b><font size=2>word</div>" * 5_000,
        "<div><span>word</div>" * 5_000,
        "<p><a href=x>word" * 5_000,
        "<p><b><font size=2>word" * 5_000,
        "<table>" + "<tr><td><div><font size=2>word" * 5_000,
        "<dl>" + "<dt><b>word<dd><p>word" * 5_000,
        "<img><br>word<p><!-- <div> -->" * 5_000,
        "<script>'" + "<div>" * 5_000 + "'</script><p>word",
        "<p><svg>" + "<path d=x />" * 5_000 + "</svg>word",
        "<p>word <" + "a" * 100_000 + ">",
    ],
)
def test_shallow_pages_are_read(page: str) -> None:
    found = extract(page, main_content=False)
    assert found["failure"] is None
    assert "word" in str(found["text"])


def test_odd_characters() -> None:
    assert (
        extract("<p>a\x00b &#xD800; &#x110000; &#0; \u202eabc e\u0301</p>")["text"]
        == "ab \ufffd \ufffd \ufffd \u202eabc e\u0301"
    )


def test_columns_and_types_do_not_hang_on_the_rows() -> None:
    empty, full = ExtractHtml().map(documents()), ExtractHtml().map(documents(PAGE, None))
    assert empty.schema == full.schema
    assert full.column_names == [
        "id",
        "text",
        *(f"extract_html.{m}" for m in ("title", "failure", "extractor", "html_bytes")),
    ]
    assert ExtractHtml.model_validate({"as": "pages"}).map(documents(PAGE)).column_names[2] == "pages.title"


MARKUP = st.lists(
    st.sampled_from(["<p>", "</p>", "<b>", "<div", ">", "</", "<!--", "-->", "&amp;", "é", "数", "\x00", " x "]),
    max_size=30,
)


@settings(max_examples=60, deadline=None)
@given(pages=st.lists(MARKUP.map("".join) | st.text(), max_size=5), cut=st.integers(0, 5))
def test_batches_do_not_matter(pages: list[str], cut: int) -> None:
    docs = documents(*pages)
    whole = ExtractHtml().map(docs)
    assert docs.equals(documents(*pages))
    assert whole.equals(
        pa.concat_tables([ExtractHtml().map(docs.slice(0, cut)), ExtractHtml().map(docs.slice(cut))]).combine_chunks()
    )
