"""RedPajama-V2's signals: tables worked out by hand, twins in plain Python, the files a user brings."""

from __future__ import annotations

import math
import re
import string
import unicodedata
from collections import Counter
from itertools import combinations, pairwise

import fasttext
import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from operators.filters import redpajama_lists
from operators.filters.importance_weights import FeatureCounts, count_features, write_importance
from operators.filters.redpajama_lists import hosts_of, read_domains, shipped_lists
from operators.filters.redpajama_measures import LINES, rounded
from operators.filters.redpajama_signals import RedpajamaSignals
from operators.kernels.unicode_table import UNASSIGNED, unicode_flags
from pipeline.errors import RunFailedError, UserError
from pipeline.named_files import FileState
from tests.operators.texts import ONE_MEGABYTE, REPETITIVE, TEXTS, table

PUNCTUATION = str.maketrans("", "", string.punctuation)


def measured(text, docs=None, **options):
    """The signals of one text, between two others."""
    docs = table("x y.", text, None) if docs is None else docs
    return {
        name: column.to_pylist()[1]
        for name, column in RedpajamaSignals(**{"language": "en", **options}).measure(docs).items()
    }


@pytest.mark.parametrize(
    ("text", "name", "expected"),
    [
        # raw words: The | quick - | 3 | . | 5 | '' | and so on; words: those of the normalised text
        ("Don't stop, a-b!", "word_count", 3),  # dont stop ab
        ("", "word_count", 0),
        ("!!!", "word_count", 0),
        ("中文 三。", "word_count", 2),
        ("A b. C? D", "num_sentences", 3),
        ("3.14... !? 。x。y", "num_sentences", 3),  # "3." "14... !?" "。x。y": Chinese marks do not divide
        ("... !", "num_sentences", 0),
        ("_", "num_sentences", 1),
        ("", "num_sentences", 0),
        ("Don't stop, a-b!", "mean_word_length", 10 / 3),
        ("é", "mean_word_length", 2.0),  # decomposed
        ("!!!", "mean_word_length", None),
        ("# a #b ... … ....", "symbol_to_word_ratio", 5 / 7),  # # a # b ... … ....
        ("......", "symbol_to_word_ratio", 2.0),
        (" \n", "symbol_to_word_ratio", None),
        ("#", "symbol_to_word_ratio", 1.0),
        ("a...\nb… \n\n…c\n", "frac_lines_end_with_ellipsis", 0.5),
        ("\n", "frac_lines_end_with_ellipsis", 0.0),
        ("", "frac_lines_end_with_ellipsis", None),
        ("ab 12, 三 é x3", "frac_no_alph_words", 4 / 6),  # 12 | , | 三 | é
        ("中文", "frac_no_alph_words", 1.0),
        ("", "frac_no_alph_words", None),
        ("AB A1 1 Ab É ǅA ---", "frac_all_caps_words", 3 / 7),  # a title-case letter is no capital
        (" ", "frac_all_caps_words", None),
        ("The the THE a!", "frac_unique_words", 0.5),
        ("", "frac_unique_words", None),
        ("a a b c", "unigram_entropy", 1.5 * math.log(2)),
        ("a A a.", "unigram_entropy", 0.0),
        ("..", "unigram_entropy", None),
        ("the The of, dog", "stop_word_fraction", 2 / 5),
        ("don't", "stop_word_fraction", 1 / 3),  # don | ' | t, of which t is listed
        ("!!!", "stop_word_fraction", 0.0),
        ("", "stop_word_fraction", 0.0),
        ("Lorem, ipsum lorem ipsum", "lorem_ipsum", 2 / 23),
        ("lorem  ipsun lorem ip lorem ipsums", "lorem_ipsum", 1 / 33),
        ("!", "lorem_ipsum", 0.0),
        ("{a}b{", "curly_bracket", 0.6),
        ("{é", "curly_bracket", 0.5),
        ("", "curly_bracket", 0.0),
        ("Fuck, 2-girls", "ldnoobw_words", 1),
        ("2 girls, 1 CUP! ass ass", "ldnoobw_words", 3),
        ("2 girls 1", "ldnoobw_words", 0),
        ("", "ldnoobw_words", 0),
    ],
)
def test_by_hand(text, name, expected):
    value = measured(text)[f"rps_doc_{name}"]
    assert value == (expected if expected is None else round(expected, 8))
    assert type(value) is type(expected)


@pytest.mark.parametrize(
    ("text", "top", "dupe"),
    [  # vectors of the reference, by n-grams of 2, 3, 4 and of 5, 6 words
        ("red fox\nred fox\nblue owl\n\nred fox", (0.72, 0, 0), (0, 0)),
        ("red fox\nblue owl\n", (0, 0, 0), (0, 0)),
        ("p1 x\n\np1 x\n\np2 y", (2 / 3, 0, 0), (0, 0)),
        ("aa bb cc dd ee aa bb cc dd ee", (0.4, 0.6, 0.8), (1, 0)),
        ("a a a a a a a a", (1.75, 2.25, 2.5), (1, 1)),
        ("one two three", (0, 0, 0), (0, 0)),
        ("", (0, 0, 0), (0, 0)),
        ("!?", (0, 0, 0), (0, 0)),
        ("aa bb cc dd ee ff aa bb cc dd ee ff aa bb cc dd ee ff", (1 / 3, 0.5, 2 / 3), (1, 1)),
        # 48 code points: one two threefour five six, twice, then e and its accent twice
        (
            "One, two three-four FIVE six. One two threefour 'five' SIX é! e\u0301",
            (12 / 48, 30 / 48, 38 / 48),
            (44 / 48, 0),
        ),
    ],
)
def test_repetition_by_hand(text, top, dupe):
    found = measured(text)
    assert [found[f"rps_doc_frac_chars_top_{n}gram"] for n in (2, 3, 4)] == [round(value, 8) for value in top]
    assert [found[f"rps_doc_frac_chars_dupe_{n}grams"] for n in (5, 6)] == [round(value, 8) for value in dupe]


SEVEN_LINES = "A B?! \n • one two.”\nJavascript javascripts\njava-script, JAVASCRIPT 1 2x\n½三1x\n\n– É"  # the fifth has no end mark


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("ending_with_terminal_punctution_mark", [1, 1, 0, 0, 0, 0, 0]),
        ("javascript_counts", [0, 0, 1, 2, 0, 0, 0]),
        ("num_words", [2, 3, 2, 4, 1, 0, 2]),  # • and – are words
        ("numerical_chars_fraction", [0, 0, 0, 2 / 26, 3 / 4, 0, 0]),
        ("start_with_bulletpoint", [0, 1, 0, 0, 0, 0, 1]),
        ("uppercase_letter_fraction", [2 / 7, 0, 1 / 23, 10 / 29, 0, 0, 1 / 3]),  # the line feed is a character
    ],
)
def test_lines_by_hand(name, values):
    found = measured(SEVEN_LINES)
    assert found[f"rps_lines_{name}"] == [round(value, 8) for value in values]
    assert found[f"rps_lines_{name}_mean"] == round(sum(values) / 7, 8)
    assert found["rps_lines_total"] == 7


def test_lines_of_an_empty_and_a_null_text():
    for name in LINES:
        column = RedpajamaSignals().measure(table("", None))[name]
        assert column.to_pylist() == [[], None]
        assert measured("")[f"{name}_mean"] is None
        assert name not in measured("a", line_values=False)
    assert measured("a\n", line_values=False)["rps_lines_total"] == 1


def normalise(text):
    return unicodedata.normalize("NFD", re.sub(r"\s+", " ", text.translate(PUNCTUATION).lower().strip()))


def slow(text):
    """Every signal that needs no file, from the table of the paper's code, in English."""
    share = lambda count, whole: round(count / whole, 8) if whole else None  # noqa: E731
    normal, raw = normalise(text), re.findall(r"\w+|[^\w\s]+", text)
    words, lines = normal.split(), re.findall(r"[^\n]*\n|[^\n]+$", text)
    counts, chars = Counter(words), sum(map(len, words))
    stops, blocked = set(shipped_lists().stop_words["en"]), set(shipped_lists().blocked["en"])
    grams = {n: list(zip(*(words[k:] for k in range(n)), strict=False)) for n in range(1, 11)}
    found = {
        "word_count": len(words),
        "num_sentences": len(re.findall(r"\b[^.!?]+[.!?]*", text)),
        "mean_word_length": share(chars, len(words)),
        "symbol_to_word_ratio": share(text.count("#") + text.count("...") + text.count("…"), len(raw)),
        "frac_lines_end_with_ellipsis": share(sum(one.rstrip().endswith(("...", "…")) for one in lines), len(lines)),
        "frac_no_alph_words": round(1 - sum(bool(re.search("[a-zA-Z]", one)) for one in raw) / len(raw), 8)
        if raw
        else None,
        "frac_all_caps_words": share(sum(map(str.isupper, raw)), len(raw)),
        "frac_unique_words": share(len(counts), len(words)),
        "unigram_entropy": round(sum(-n / len(words) * math.log(n / len(words)) for n in counts.values()), 8)
        if words
        else None,
        "stop_word_fraction": share(sum(one in stops for one in raw), len(raw)) if words else 0,
        "lorem_ipsum": share(normal.count("lorem ipsum"), len(normal)) or 0,
        "curly_bracket": share(text.count("{") + text.count("}"), len(text)) or 0,
        "ldnoobw_words": sum(" ".join(gram) in blocked for n in range(1, 6) for gram in grams[n]),
    }
    for n in (2, 3, 4):
        gram, times = Counter(grams[n]).most_common(1)[0] if grams[n] else ((), 0)
        found[f"frac_chars_top_{n}gram"] = share(len("".join(gram)) * times, chars) if times > 1 else 0
    for n in range(5, 11):
        often = Counter(grams[n])
        inside = {k + j for k, gram in enumerate(grams[n]) if often[gram] > 1 for j in range(n)}
        found[f"frac_chars_dupe_{n}grams"] = share(sum(len(words[k]) for k in inside), chars) or 0
    by_line = {
        "ending_with_terminal_punctution_mark": [one.rstrip().endswith((".", "!", "?", "”")) for one in lines],
        "javascript_counts": [normalise(one).split().count("javascript") for one in lines],
        "num_words": [len(normalise(one).split()) for one in lines],
        "numerical_chars_fraction": [
            share(sum(map(str.isnumeric, one)), len(one)) or 0 for one in map(normalise, lines)
        ],
        "start_with_bulletpoint": [one.lstrip().startswith(tuple("•‣▶◀◦■□▪▫–")) for one in lines],
        "uppercase_letter_fraction": [share(sum(map(str.isupper, one)), len(one)) for one in lines],
    }
    return {f"rps_doc_{name}": value for name, value in found.items()} | {
        f"rps_lines_{name}": value for name, value in by_line.items()
    }


def known(text):
    return "".join(char for char in text if not unicode_flags()[ord(char)] & UNASSIGNED)


WORDS = st.lists(
    st.sampled_from(["a", "B", "fuck", "shit", "2", "girls", "1", "cup", "the", "Ǆ", "ǅ", "É", "–", "▪x", "Lorem", "ipsum", "javascript",
                     "java-script", "Σ", "the", "don't", "\n", "\n", ".", "!?", "...", "#"]), max_size=60
).map(" ".join)  # fmt: skip


@given(st.one_of(TEXTS.map(known), WORDS, REPETITIVE))
def test_equals_the_slow_twin(text):
    expected, found = slow(text), measured(text)
    assert {name: found[name] for name in expected} == expected


def test_ccnet_fields():
    found = measured("é\n\nb\n")
    assert (found["ccnet_length"], found["ccnet_nlines"]) == (5, 4)
    assert (found["ccnet_original_length"], found["ccnet_original_nlines"]) == (5, 4)
    assert "ccnet_language_score" not in found
    assert (measured("")["ccnet_length"], measured("")["ccnet_nlines"]) == (0, 0)
    docs = (
        table("x", "y")
        .append_column("original_length", pa.array([3, 9]))
        .append_column("original_nlines", pa.array([1, 2]))
    )
    found = measured("", docs.append_column("language.score", pa.array([0.5, 0.75])))
    assert (found["ccnet_length"], found["ccnet_original_length"], found["ccnet_original_nlines"]) == (1, 9, 2)
    assert found["ccnet_language_score"] == 0.75


def test_each_text_is_held_against_the_lists_of_its_language():
    texts = ["the und arsch fuck"] * 6
    docs = table(*texts).append_column("language.label", pa.array(["en", "de", "zh", "ru", None, "und"]))
    found = RedpajamaSignals().measure(docs)
    assert found["rps_doc_stop_word_fraction"].to_pylist() == [0.25, 0.25, 0.0, None, None, None]
    assert found["rps_doc_ldnoobw_words"].to_pylist() == [1, 1, 0, 0, 0, 0]
    fixed = RedpajamaSignals(language="de").measure(docs)
    assert fixed["rps_doc_stop_word_fraction"].to_pylist() == [0.25] * 6
    assert RedpajamaSignals().measure(table("the"))["rps_doc_stop_word_fraction"].to_pylist() == [None]


def test_listed_words_are_compared_as_they_stand():
    """As in the reference: the text is in lower case, without punctuation and decomposed, the list is not."""
    assert {"Caca", "Cabrón"} <= set(shipped_lists().blocked["es"])
    assert measured("Caca caca cabrón", language="es")["rps_doc_ldnoobw_words"] == 0
    assert "enculé" in shipped_lists().blocked["fr"]
    assert measured("Enculé, merde", language="fr")["rps_doc_ldnoobw_words"] == 1
    assert measured("的 我们", language="zh")["rps_doc_stop_word_fraction"] == 1.0


def test_changed_lists_are_refused(monkeypatch):
    monkeypatch.setattr(redpajama_lists, "LISTS_SHA256", "0")
    with pytest.raises(RunFailedError, match="expected 0; install the package again"):
        shipped_lists.__wrapped__()


# -- hosts ------------------------------------------------------------------------------------------------------------


def test_hosts_of_urls():
    urls = ["https://A.Example.org:8080/x?y@z", "http://user:pw@b.org", "c.org/x", None, "ftp://d.org#f", "https:///x"]
    assert hosts_of(pa.array(urls)).to_pylist() == ["a.example.org", "b.org", None, None, "d.org", None]


def test_sets_of_categories_are_numbered_as_the_reference_does(tmp_path):
    """By size, then in lexicographic order: all sets of four categories, each a host."""
    names = ["adult", "chat", "gambling", "porn"]
    sets = [chosen for size in range(1, 5) for chosen in combinations(names, size)]
    lines = [f"host{k}.org\t{name}" for k, chosen in enumerate(sets) for name in reversed(chosen)]
    path = tmp_path / "domains.txt"
    path.write_text("# hosts\n\n" + "\r\n".join([*lines, *lines]) + "\nWWW.Two.org porn\n", encoding="utf-8")
    docs = pa.table(
        {
            "text": pa.array(["x"] * (len(sets) + 3), pa.large_string()),
            "url": [
                *(f"http://host{k}.org/" for k in range(len(sets))),
                "https://www.two.org",
                "https://two.org",
                None,
            ],
        }
    )
    found = RedpajamaSignals(domains={"file": str(path)}).measure(docs)["rps_doc_ut1_blacklist"].to_pylist()
    assert found == [*range(len(sets)), 3, None, None]
    assert RedpajamaSignals(domains={"file": str(path)}).measure(table("x"))["rps_doc_ut1_blacklist"].to_pylist() == [
        None
    ]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("a.org adult\nb.org\n", r"line 2: 'b\.org' is not a host"),
        ("a.org adult porn", "line 1: "),
        ("\n".join(f"a.org c{k}" for k in range(63)), "has 63 categories"),
    ],
)
def test_a_list_of_another_form_is_refused(tmp_path, content, message):
    path = tmp_path / "domains.txt"
    path.write_text(content, encoding="utf-8")
    with pytest.raises(UserError, match=message):
        read_domains(FileState(str(path), None, content))


# -- models -----------------------------------------------------------------------------------------------------------


def test_scores_of_a_classifier(tmp_path):
    lines = [
        f"__label__wiki the river rises in the hills {k}\n__label__cc login cart menu click {k}" for k in range(20)
    ]
    (tmp_path / "train.txt").write_text("\n".join(lines), encoding="utf-8")
    options = {"dim": 4, "epoch": 50, "lr": 1.0, "bucket": 100, "thread": 12, "verbose": 0}
    model = fasttext.train_supervised(str(tmp_path / "train.txt"), **options)
    model.save_model(str(tmp_path / "model.bin"))
    operator = RedpajamaSignals(models={"palm": {"file": str(tmp_path / "model.bin")}})
    prose, menu = "\u2028the river\r\nrises in\n\nthe\x85hills\n", "login\fcart menu"
    columns = operator.measure(table(prose, menu, "", None))
    assert {name for name in columns if "_ml_" in name} == {"rps_doc_ml_palm_score"}
    found = columns["rps_doc_ml_palm_score"].to_pylist()
    assert found[2:] == [None, None]
    for value, line in ((found[0], "the river rises in  the hills"), (found[1], "login cart menu")):
        labels, scores = model.f.predict(line + "\n", 1, 0.0, "strict")[0][::-1]
        assert value == pytest.approx(scores if labels == "__label__wiki" else 1 - scores, abs=1e-7)
    assert found[1] < 0.5 < found[0]


# -- importance weights -----------------------------------------------------------------------------------------------


def bucket(feature, buckets):
    digest = 0xCBF29CE484222325
    for byte in feature.encode():
        digest = (digest ^ byte) * 0x100000001B3 & 0xFFFFFFFFFFFFFFFF
    return digest % buckets


def features(text):
    words = re.findall(r"\w+|[^\w\s]+", text)
    return words + [f"{one} {other}" for one, other in pairwise(words)]


def test_fnv1a_is_the_published_hash():
    assert bucket("a", 2**64) == 0xAF63DC4C8601EC8C
    assert bucket("foobar", 2**64) == 0x85944171F73967E8


TARGET, SOURCE = ["The river rises. It's high…", "", "中文 river"], ["Login, cart!", "menu menu menu é"]


@given(TEXTS.map(known))
def test_features_equal_the_slow_twin(text):
    counted = count_features([table(text, None), table("a b")], buckets=97)
    expected = Counter(bucket(one, 97) for one in [*features(text), *features("a b")])
    assert counted.counts.tolist() == [expected[k] for k in range(97)]
    assert (counted.words, counted.documents) == (len(re.findall(r"\w+|[^\w\s]+", text)) + 2, 2)


def test_importance_by_hand(tmp_path):
    write_importance(
        tmp_path / "books.npz", *(count_features([table(*texts)], buckets=50) for texts in (TARGET, SOURCE))
    )
    found = measured("River rises, menu", importance={"books": {"file": str(tmp_path / "books.npz")}})
    counts = [Counter(bucket(one, 50) for text in texts for one in features(text)) for texts in (TARGET, SOURCE)]
    shares = [{k: one[k] / one.total() for k in range(50)} for one in counts]
    terms = [
        math.log(shares[0][k] + 1e-8) - math.log(shares[1][k] + 1e-8)
        for k in (bucket(f, 50) for f in features("River rises, menu"))
    ]
    assert found["rps_doc_books_importance"] == pytest.approx(sum(terms), abs=2e-8)
    # 11 words in 3 texts and 8 in 2; 17 characters
    poisson = [math.exp(-mean) * mean**17 / math.factorial(17) + 1e-8 for mean in (11 / 3, 8 / 2)]
    corrected = sum(terms) + math.log(poisson[0] / poisson[1])
    assert found["rps_doc_books_importance_length_correction"] == pytest.approx(corrected, abs=2e-8)
    assert abs(math.log(poisson[0] / poisson[1])) > 1e-3
    assert not [name for name in found if "wikipedia" in name]
    empty = RedpajamaSignals(importance={"books": {"file": str(tmp_path / "books.npz")}}).measure(table("", None, " "))
    assert empty["rps_doc_books_importance"].to_pylist() == [None, None, 0.0]


def test_files_of_another_kind_are_refused(tmp_path):
    other = tmp_path / "other.npz"
    other.write_text("no such file", encoding="utf-8")
    with pytest.raises(UserError, match=r"cannot read the importance weights .*other\.npz"):
        measured("a", importance={"wikipedia": {"file": str(other)}})
    fields = {"target_counts": [1], "source_counts": [1], "target_words": 1.0, "source_words": 1.0}
    np.savez(other, hash="python", **fields)
    with pytest.raises(UserError, match="by hash python, this version by fnv1a64"):
        measured("a", importance={"wikipedia": {"file": str(other)}})
    with pytest.raises(UserError, match="step 'books' is not made yet"):
        measured("a", importance={"wikipedia": {"step": "books"}})
    none = FeatureCounts(np.zeros(4, np.int64), 0, 1)
    with pytest.raises(ValueError, match="0 and 0 words, 4 and 4 buckets"):
        write_importance(other, none, none)


# -- numbers ----------------------------------------------------------------------------------------------------------


def test_rounding_is_pythons():
    tied = [k / n for n in (512, 2560, 1000, 3, 7, 12800) for k in range(1, 3000)]
    values = [*tied, 0.0, -0.0, -1.5, 1e-9, 5e-9, 0.123456785, 0.123456775, -88015.074917235, 1e15, 123456789.123456789]
    assert rounded(np.array([*values, math.nan])).tolist()[:-1] == [round(value, 8) for value in values]
    assert math.isnan(rounded(np.array([math.nan]))[0])


def test_drops_nothing_and_keeps_every_signal():
    columns = RedpajamaSignals().measure(table("x"))
    assert RedpajamaSignals().bounds == ()
    assert len([name for name in columns if name.startswith("rps_doc_")]) == 22
    assert [
        name for name in columns if name.startswith("rps_lines_") and not name.endswith(("_mean", "_total"))
    ] == list(LINES)


@pytest.mark.parametrize("name", ONE_MEGABYTE)
def test_long_texts_take_linear_time(name):
    assert len(RedpajamaSignals(language="en").measure(table(ONE_MEGABYTE[name]))["rps_doc_word_count"]) == 1
