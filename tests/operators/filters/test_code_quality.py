"""Rules for source code: tables worked out by hand, twins in plain Python, flavours, kinds of files."""

from __future__ import annotations

import hashlib
import html.parser
import pickle
import re

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError
from tokenizers import Tokenizer, models, pre_tokenizers

from operators.code_files import REDPAJAMA, kind_of
from operators.filters.code_quality import CodeQuality
from operators.kernels.buffers import text_buffers
from operators.kernels.code import visible_chars
from pipeline import apply
from pipeline.errors import UserError
from pipeline.operator import Bound
from pipeline.value import Artifact
from tests.operators.texts import ONE_MEGABYTE, TEXTS, table

PYTHON = "# a comment\nimport os\n\n\ndef f(x):\n    return os.path.join(x, 'y')\n"


def measured(text, **options):
    columns = CodeQuality(**{"language": "python", **options}).measure(table("x", text, None))
    assert all(column.to_pylist()[2] is None for name, column in columns.items() if name not in ("file", "language"))
    return {name: column.to_pylist()[1] for name, column in columns.items()}


@settings(max_examples=60)
@given(TEXTS, st.sampled_from(["starcoder", "redpajama", "nemo"]))
def test_lines_and_letters_equal_the_references_formulas(text, flavour):
    lines = text.split("\n") if flavour == "nemo" else text.splitlines()
    lengths = [len(line) for line in lines]
    mean = None
    if lines:
        mean = {
            "starcoder": np.mean(lengths),
            "redpajama": len(text) / len(lines),
            "nemo": (len(text) + 1) / len(lines) - 1,
        }
    found = measured(text, flavour=flavour)
    assert found["num_lines"] == len(lines)
    assert found["longest_line_chars"] == max(lengths, default=0)
    assert found["chars_per_line"] == (None if mean is None else pytest.approx(mean[flavour]))
    for measure, test in (("alnum_fraction", str.isalnum), ("alpha_fraction", str.isalpha)):
        assert found[measure] == (pytest.approx(sum(map(test, text)) / len(text)) if text else None)
    assert found["xml_headers"] == ("<?xml version=" in text[:100])


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("<?xml version='1.0'?>", 1),
        ("é" * 86 + "<?xml version=", 1),
        ("é" * 87 + "<?xml version=", 0),  # its end is the 101st character
        ("<?xml  version=", 0),
        ("", 0),
    ],
)
def test_xml_headers(text, expected):
    assert measured(text)["xml_headers"] == expected


class Shown(html.parser.HTMLParser):
    """What BeautifulSoup's ``get_text`` gives without scripts and styles: blank strings become one blank."""

    def __init__(self, text):
        super().__init__()
        self.nodes, self.hidden, self.preformatted = [[""]], False, False
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.hidden = tag in ("script", "style")
        self.preformatted |= tag == "pre"
        self.nodes.append(["", self.preformatted])

    def handle_startendtag(self, tag, attrs):
        self.nodes.append(["", self.preformatted])

    def handle_endtag(self, tag):
        self.hidden = False
        self.preformatted &= tag != "pre"
        self.nodes.append(["", self.preformatted])

    def handle_comment(self, data):
        self.nodes.append(["", self.preformatted])

    handle_decl = handle_pi = unknown_decl = handle_comment

    def handle_data(self, data):
        if not self.hidden:
            self.nodes[-1][0] += data

    def chars(self):
        return sum(
            1 if node[0] and not node[0].strip(" \t\n\f\r") and node[-1] is not True else len(node[0])
            for node in self.nodes
        )


def shown(*texts):
    return visible_chars(text_buffers(pa.array(texts, pa.large_string())), np.ones(len(texts), np.bool_)).tolist()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", 0),
        ("<p>a &amp; b</p>", 5),
        ("<p>  \n </p>a<b> </b>", 3),  # blanks between tags are one
        ("<pre>  \n</pre>", 3),
        ("&nbsp; &#x41;&#65;", 4),
        ("&nope &; & a&b", 14),
        ("<script>var a = '<p>';</script>x<STYLE type='a'>p > b</Style >y", 2),
        ("<scripts>a</scripts>", 1),
        ("<a href='x>y' title=\">\">z</a>", 1),
        ("<!-- a > b --> c<!DOCTYPE html><?php x ?>", 2),
        ("1 < 2 <3 <", 10),
        ("中<br/>文", 2),
        ("<p", 0),
        ("<!-- a", 0),
        ("<script> a", 0),
    ],
)
def test_visible_text_by_hand(text, expected):
    assert shown(text) == [expected]


TAGS = st.sampled_from(
    ["<p>", "</p>", "<b class='a>b'>", "<pre>", "</pre>", "<br/>", "<script>a<b>c</script>", "<style> x </style>", "<!-- c -->",
     "<!DOCTYPE html>", "text", " ", "\n", "  \n", "é中", "&amp;", "&#65;", "&eacute;", "1 < 2", "a&b ", "\t"]
)  # fmt: skip


@settings(max_examples=200)
@given(st.lists(TAGS, max_size=20).map("".join))
def test_visible_text_equals_the_standard_librarys_parser(text):
    if not re.search(r"<pre>(?:(?!</pre>).)*<pre>", text, re.DOTALL):  # one is enough for us
        assert shown(text) == [Shown(text).chars()]


def test_visible_fraction_of_html_and_others():
    page = "<html><body>" + "<p>" + "word " * 30 + "</p>" + "</body></html>"
    assert measured(page, language="html")["visible_fraction"] == pytest.approx(150 / len(page))
    assert measured("<p>" + "a" * 100 + "</p>", language="html")["visible_fraction"] == 0.0
    assert measured("<p>" + "a" * 100 + "</p>", language="html", flavour="nemo")["visible_fraction"] == pytest.approx(
        100 / 107
    )
    assert measured("<p>a</p>", language="html", html_chars=0)["visible_fraction"] == pytest.approx(1 / 8)
    assert measured("<p>a</p>")["visible_fraction"] == 1.0
    assert measured("", language="html")["visible_fraction"] is None


@pytest.mark.parametrize(
    ("place", "expected"),
    [
        ("src/main.py", (".py", "python")),
        ("C:\\src\\Main.java", (".java", "java")),
        ("https://example.org/a/b.min.js?v=1#top", (".js", "javascript")),
        ("https://example.org/", (None, None)),
        ("C++", ("c++", "c++")),
        ("c-sharp", ("c#", "c#")),
        ("Visual Basic", ("visual-basic", "visual-basic")),
        ("py", ("python", "python")),
        ("h", ("h", "c")),
        (".PY", (".PY", "python")),
        ("a/Makefile", ("Makefile", "makefile")),
        ("docker/dev.Dockerfile", ("Dockerfile", "dockerfile")),
        ("CMakeLists.txt", (".txt", "cmake")),
        ("README", ("README", None)),
        ("a.tar.unknown", (".unknown", None)),
        ("", (None, None)),
    ],
)
def test_kinds_of_files(place, expected):
    assert kind_of(place) == expected


def code(*rows):
    """Rows of (path, text)."""
    paths, texts = zip(*rows, strict=True)
    return table(*texts).append_column("path", pa.array(paths, pa.string()))


def test_where_the_kind_comes_from():
    docs = code(("a.py", "# a"), ("b.js", "# a"), (None, "# a"), ("c.json", "# a"))
    columns = CodeQuality().measure(docs)
    assert columns["file"].to_pylist() == [".py", ".js", None, ".json"]
    assert columns["language"].to_pylist() == ["python", "javascript", None, "json"]
    assert columns["comment_fraction"].to_pylist() == [1.0, 0.0, None, 0.0]
    columns = CodeQuality(language="Python").measure(docs)
    assert columns["comment_fraction"].to_pylist() == [1.0] * 4
    assert columns["file"].to_pylist() == [".py", ".js", None, ".json"]
    columns = CodeQuality(file_column="lang").measure(docs.append_column("lang", pa.array(["R", "C", "Go", "?"])))
    assert columns["file"].to_pylist() == ["r", "c", "go", "?"]
    urls = table("# a").append_column("url", pa.array(["https://x.org/a.py"], pa.string()))
    assert CodeQuality().measure(urls)["language"].to_pylist() == ["python"]
    assert CodeQuality().measure(table("# a"))["file"].to_pylist() == [None]
    with pytest.raises(UserError, match="no column 'lang'"):
        CodeQuality(file_column="lang").measure(docs)


def reasons(docs, **options):
    outcome = apply(CodeQuality(**options), docs)
    dropped = dict(zip(outcome.dropped["id"].to_pylist(), outcome.dropped["reason"].to_pylist(), strict=True))
    return [dropped.get(number) for number in docs["id"].to_pylist()]


FILES = code(
    ("a.py", PYTHON),
    ("b.py", PYTHON + "x" * 1001),
    ("c.py", (PYTHON.replace("\n", " ") + "\n") * 3),
    ("d.py", "# " + "-" * 60 + "\nx = 1\n" + "[]" * 20),
    ("e.py", "import os\n" * 12),
    ("f.py", "# a\n" * 12 + "x\n"),
    ("g.py", "<?xml version='1.0'?> # é é é é é é"),
    ("h.html", "<!-- c -->" + "<b></b>\n" * 30 + "text"),
    ("i.html", "<!-- c --><p>" + "some text\n" * 20),
    ("j.unknown", PYTHON),
    ("k.py", ""),
    ("l.py", PYTHON * 5000),
    ("Makefile", "# a\n" + "all:\n" * 12),
)  # fmt: skip


def test_flavours():
    assert reasons(FILES) == [
        None, "long_line", "many_comments", "few_alphanumerics", "few_comments", None, "xml", "html_boilerplate", None, "undefined",
        "undefined", None, None,
    ]  # fmt: skip
    assert reasons(FILES, flavour="redpajama") == [
        None, "long_line", None, "few_alphanumerics", None, None, None, None, None, "file", "undefined",
        None, None,
    ]  # fmt: skip
    assert reasons(FILES, flavour="nemo") == [
        "few_lines", "few_lines", "many_comments", "few_letters", "few_comments", None, "xml", "html_boilerplate", None,
        "undefined", "undefined", "many_lines", None,
    ]  # fmt: skip


def test_limits_are_those_of_the_references():
    assert CodeQuality().bounds == (
        Bound("longest_line_chars", max=1000, reason="long_line"),
        Bound("chars_per_line", max=100.0, reason="long_lines"),
        Bound("alnum_fraction", min=0.25, reason="few_alphanumerics"),
        Bound("comment_fraction", min=0.01, exclusive=True, reason="few_comments"),
        Bound("comment_fraction", max=0.8, exclusive=True, reason="many_comments"),
        Bound("xml_headers", max=0, reason="xml"),
        Bound("visible_fraction", min=0.2, exclusive=True, reason="html_boilerplate"),
    )
    assert CodeQuality(flavour="redpajama").bounds[0] == Bound("file", among=REDPAJAMA, reason="file")
    assert len(REDPAJAMA) == 66
    assert Bound("num_lines", min=10, reason="few_lines") in CodeQuality(flavour="nemo").bounds
    own = CodeQuality(flavour="redpajama", keep=["python"], max_line_chars=None, min_comment_fraction=0.05)
    assert own.bounds[0] == Bound("file", among=("python",), reason="file")
    assert "longest_line_chars" not in [bound.measure for bound in own.bounds]
    assert Bound("comment_fraction", min=0.05, reason="few_comments") in own.bounds
    assert CodeQuality(keep=[]).bounds == CodeQuality().bounds


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory):
    """Words between blanks are the tokens."""
    path = tmp_path_factory.mktemp("tokenizer") / "tokenizer.json"
    characters = Tokenizer(models.WordLevel({"ab": 0, "[UNK]": 1}, unk_token="[UNK]"))
    characters.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    characters.save(str(path))
    return Artifact(file=str(path))


def test_characters_per_token(tokenizer):
    operator = CodeQuality(language="python", tokenizer=tokenizer, min_chars_per_token=3.0)
    operator.prepare()
    assert pickle.loads(pickle.dumps(operator)) == operator
    columns = operator.measure(table("ab 12", "", None, "  ", "ab"))
    assert columns["chars_per_token"].to_pylist() == [2.5, None, None, None, 2.0]
    assert columns["alpha_chars_per_token"].to_pylist() == [1.0, None, None, None, 2.0]
    assert Bound("chars_per_token", min=3.0, reason="many_tokens") in operator.bounds
    redpajama = CodeQuality(flavour="redpajama", tokenizer=tokenizer)
    assert redpajama.bounds[-1] == Bound("alpha_chars_per_token", min=1.5, reason="few_letters_per_token")
    with pytest.raises(UserError, match="not made yet"):
        CodeQuality(tokenizer=Artifact(step="bpe")).prepare()


def test_a_tokenizer_that_was_changed_since_the_plan_is_refused(tokenizer):
    planned = Artifact(file=tokenizer.file, sha256=hashlib.sha256(b"other bytes").hexdigest())
    with pytest.raises(UserError, match="when this run was planned"):
        CodeQuality(tokenizer=planned).measure(table("ab"))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"language": "pyton"}, "'pyton' is not known; near: python"),
        ({"min_chars_per_token": 2.5}, "min_chars_per_token needs a tokenizer"),
        ({"max_line_chars": -1}, "greater than or equal to 0"),
        ({"flavour": "codex"}, "starcoder"),
    ],
)
def test_mistakes(options, message):
    with pytest.raises(ValidationError, match=message):
        CodeQuality(**options)


@pytest.mark.parametrize("name", ONE_MEGABYTE)
def test_long_texts_take_linear_time(name):
    for language in ("python", "html"):
        assert measured(ONE_MEGABYTE[name], language=language)["num_lines"] >= 1
