"""Sources and columns that a deduplicating step names, against what the read step above it can give."""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline.errors import UserError
from tests.workflows.conftest import Call, run_here
from workflows.recipe import load

RECIPE = """\
name: named
steps:
  crawl:
    read: {{format: jsonl, paths: [in.jsonl], source: small{read}}}
  held:
    from: crawl
    split: {{held_out: {{validation: 0.1}}}}
  unique:
    from: {above}
    {verb}
"""
COLUMNS = ", columns: {text: text, score: score, grade: grade}, column_types: {score: float}"
FROM_COLUMN = ", columns: {text: text, source: origin_name}"


def recipe(folder: Path, verb: str, read: str = "", above: str = "held") -> Path:
    path = folder / "named.yaml"
    path.write_text(RECIPE.format(verb=verb, read=read, above=above), encoding="utf-8")
    return path


@pytest.mark.parametrize(
    ("verb", "said"),
    [
        (
            "dedup: {sources: [smal]}",
            "sources names 'smal', which is no source of the documents, did you mean 'small'?",
        ),
        ("dedup_substrings: {sources: [books]}", "sources names 'books', which is no source of the documents"),
        ("dedup: {alarm: {sources: {smal: 0.99}}}", "alarm.sources names 'smal'"),
    ],
    ids=["dedup", "substrings", "alarm"],
)
def test_a_source_that_no_document_can_have_is_refused(tmp_path: Path, verb: str, said: str) -> None:
    with pytest.raises(UserError) as refused:
        load(recipe(tmp_path, verb))
    assert f"named.yaml:10: unique: {said}" in str(refused.value)
    load(recipe(tmp_path, verb.replace("books", "small").replace("smal:", "small:").replace("[smal]", "[small]")))


def test_sources_of_a_column_are_known_only_after_the_run(tmp_path: Path, sluice: Call) -> None:
    rows = [{"text": f"a page of the {name}", "origin_name": name} for name in ("library", "forum")]
    (tmp_path / "in.jsonl").write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    path = recipe(tmp_path, "dedup: {sources: [forum, libary], audit: 0}", FROM_COLUMN, above="crawl")
    run = run_here(sluice, path, tmp_path / "run")
    warned = [line for line in run.stderr.splitlines() if "names" in line]
    assert warned == [
        "warning: unique: sources names 'libary', which no document had, did you mean 'library'?"
    ]  # and nothing of forum


@pytest.mark.parametrize(
    ("column", "said"),
    [
        ("nothing", "unique: the documents have no column 'nothing' to choose by; there are: "),
        ("scor", "unique: the documents have no column 'scor' to choose by, did you mean 'score'?"),
        ("grade", "holds string, not numbers; write column_types: {grade: float} on the read step"),
    ],
)
def test_a_column_to_choose_by_is_checked_before_the_run(tmp_path: Path, column: str, said: str) -> None:
    with pytest.raises(UserError) as refused:
        load(recipe(tmp_path, f"dedup: {{keep: [{{highest: {column}}}]}}", COLUMNS))
    assert said in str(refused.value)
    load(recipe(tmp_path, "dedup: {keep: [{highest: score}]}", COLUMNS))


def test_no_type_is_advised_for_a_column_that_has_one(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"holds large_string, not numbers$"):
        load(recipe(tmp_path, "dedup: {keep: [{highest: text}]}", COLUMNS))


@pytest.mark.parametrize("verb", ["dedup", "dedup_substrings"])
@pytest.mark.parametrize(
    ("column", "said"),
    [
        ("nothing", "the documents have no column 'nothing' to choose by; they have id, text, "),
        ("text", "column 'text' holds large_string, not numbers; choose by a column of numbers\n"),
        ("grade", "column 'grade' holds string, not numbers; choose by a column of numbers (column_types: "),
    ],
)
def test_columns_of_parquet_are_known_as_they_are_read(
    tmp_path: Path, sluice: Call, verb: str, column: str, said: str
) -> None:
    pq.write_table(pa.table({"text": ["a page"], "grade": ["good"]}), tmp_path / "in.parquet")
    path = recipe(tmp_path, f"{verb}: {{keep: [{{highest: {column}}}]}}", ", columns: {grade: grade}", above="crawl")
    path.write_text(path.read_text().replace("jsonl", "parquet"))
    run = run_here(sluice, path, tmp_path / "run", exit_code=2)
    assert f"step 'unique': keep: {said}" in run.stderr


def test_operators_between_may_add_the_column(tmp_path: Path) -> None:
    path = recipe(tmp_path, "dedup: {keep: [{highest: language.score}]}", above="told")
    path.write_text(f"{path.read_text()}  told:\n    from: crawl\n    apply: [language]\n", encoding="utf-8")
    assert load(path)["unique"].source == "told"


KINDS = """\
name: kinds
steps:
  crawl:
    read: {{format: jsonl, paths: [in.jsonl]}}
  bpe:
    from: crawl
    train_tokenizer: {{vocab_size: 1000}}
  tokens:
    from: crawl
    tokenize: {{tokenizer: {{step: bpe}}, tokens_per_shard: 1000}}
  packed:
    from: tokens
    pack: {{sequence_length: 64}}
  mixed:
    from: tokens
    mix: {{by: source}}
  model:
    from: mixed
    pretrain: {{steps: 2, workers: 1}}
  last:
    from: {source}
    {verb}
"""
SHORT = "pretrain: {steps: 2, workers: 1, sequence_length: 64}"
PRETRAIN, PACK, MIX = "pretrain: {steps: 2, workers: 1}", "pack: {sequence_length: 32}", "mix: {by: source}"
TOKENIZE, PACKED = "tokenize: {tokenizer: {step: bpe}}", "packed sequences, which only pretrain and exports take"
A_PLAN = "a plan of what to draw from tokens, which only pretrain takes"


@pytest.mark.parametrize(
    ("source", "verb", "said"),
    [
        ("model", PRETRAIN, "packed from them, and 'model' holds a trained model; write `from: mixed`"),
        ("crawl", PRETRAIN, "and 'crawl' holds documents; put a step with `tokenize` between"),
        ("mixed", PACK, f"pack takes tokens, and 'mixed' holds {A_PLAN}; write `from: tokens`"),
        ("packed", MIX, f"mix takes tokens, and 'packed' holds {PACKED}; write `from: tokens`"),
        ("tokens", TOKENIZE, "tokenize takes documents, and 'tokens' holds tokens; write `from: crawl`"),
        ("mixed", "apply: [fix_text]", f"apply takes documents, and 'mixed' holds {A_PLAN}; write `from: crawl`"),
        ("bpe", TOKENIZE, "and 'bpe' holds a file that other steps name in their parameters; write `from: crawl`"),
        ("model", "dedup: {}", "dedup takes documents, and 'model' holds a trained model; write `from: crawl`"),
    ],
    ids=["train-model", "train-text", "pack-mix", "mix-packed", "tokens-twice", "filter-mix", "file", "model"],
)  # fmt: skip
def test_a_step_takes_only_what_its_verb_can_read(tmp_path: Path, source: str, verb: str, said: str) -> None:
    path = tmp_path / "kinds.yaml"
    path.write_text(KINDS.format(source=source, verb=verb), encoding="utf-8")
    with pytest.raises(UserError) as refused:
        load(path)
    (problem,) = str(refused.value).splitlines()[1:]
    assert problem.startswith(f"  {path}:21: step 'last': ")
    assert problem.endswith(said)


@pytest.mark.parametrize(
    ("source", "verb"),
    [("tokens", PRETRAIN), ("mixed", PRETRAIN), ("packed", SHORT), ("tokens", PACK), ("tokens", MIX)],
    ids=["train", "train-mix", "train-packed", "pack", "mix"],
)  # fmt: skip
def test_steps_that_fit_are_taken(tmp_path: Path, source: str, verb: str) -> None:
    path = tmp_path / "kinds.yaml"
    path.write_text(KINDS.format(source=source, verb=verb), encoding="utf-8")
    assert load(path)["last"].source == source


def test_packed_sequences_are_trained_on_at_their_length(tmp_path: Path) -> None:
    path = tmp_path / "kinds.yaml"
    path.write_text(KINDS.format(source="packed", verb=PRETRAIN), encoding="utf-8")
    told = "sequence_length is 256, and 'packed' packs sequences of 64; write `sequence_length: 64`"
    with pytest.raises(UserError, match=told):
        load(path)


@pytest.mark.parametrize("plan", ["tokens: 8191", "steps: 8191, tokens_per_step: 1"], ids=["tokens", "steps"])
def test_a_training_takes_no_more_than_its_mixture_plans(tmp_path: Path, plan: str) -> None:
    """4 steps of 8 sequences of 256 are 8,192 tokens."""
    path = tmp_path / "kinds.yaml"
    text = KINDS.format(source="mixed", verb="pretrain: {steps: 4, workers: 1}")
    path.write_text(text.replace("mix: {by: source}", f"mix: {{by: source, {plan}}}"), encoding="utf-8")
    with pytest.raises(UserError, match="4 steps of 8 sequences of 256 take 8192 tokens, and 'mixed' plans 8191"):
        load(path)
    path.write_text(path.read_text().replace("8191", "8192"), encoding="utf-8")
    assert load(path)["last"].source == "mixed"
