"""Train the small models of this folder and write what the sentencepiece package makes of the texts; see README.md."""

import json
from pathlib import Path

import sentencepiece

HERE = Path(__file__).parent

SENTENCES = [
    "The river rose in the night and the mill stood in the water until the morning.",
    "Nobody had seen the water so high, and nobody knew when the rain would end.",
    "In the morning the miller counted 12 sacks of flour, 345 bricks and 6789 nails.",
    "The children of the village walked along the river and told each other stories.",
    "La rivière est montée dans la nuit, et le moulin est resté dans l'eau jusqu'au matin.",
    "Le matin, les enfants du village marchaient le long de la rivière.",
    "In der Nacht stieg der Fluss, und die Mühle stand bis zum Morgen im Wasser.",
    "Вода поднялась ночью, и мельница стояла в воде до утра.",
    "今天天气很好，我们去公园散步。公园里有很多人。",
    "孩子们在湖边放风筝，老人们在树下喝茶。",
    "def area(width, height): return width * height",
    "aaaa aaaaaaa -------- ======== ________",
]
TEXTS = [
    "", " ", "   ", "a", " a", "a ", "  The  river   rose  ", "The river rose in the night.", "naïve rivière Mühle",
    "今天天气很好，我们去公园。", "孩子们在树下", "Вода поднялась", "12 345 6789 0", "aaaaaaaaaaaaaaaaa", "aaaa-aaaa--------======",
    "\n", "a\nb\n\nc", "a\tb\t", "\r\na\r\nb", "<s>", "a<s>b</s>", "<unk>", "<s></s><s>", "<0x41>", "a <0x0A> b <0xe4>", "<sep>",
    "x<sep>y <sep> z<sep><sep>", "<sep", "▁", "a▁b", "▁▁a ▁", "ＦＵＬＬ width ﬁ", "e\u0301te\u0301 rivie\u0300re", "e\u0301\u0302 x", "never ever err, the river rises", "\u1112\u1161\u11ab",
    "😀 👨\u200d👩\u200d👧", "𐍈𐌰 \U0010ffff", "\x00\x01\x7f", "don't: it's (1.5 * 2)", "TheRiverRose", "the the the the", "\u3000全角\u3000",
    "def area(width, height):\n    return width * height\n", "ไทย हिन्दी עברית", "\u00a0nbsp\u00a0", "q" * 50,
]  # fmt: skip
RULES = [("\uff26", "F"), ("\uff35", "U"), ("\uff2c", "L"), ("\ufb01", "fi"), ("e\u0301", "\u00e9"), ("e\u0300", "\u00e8"),
         ("\t", " "), ("\r", " "), ("\n", " "), ("\u00a0", " "), ("\u3000", " "), ("\u0001", "")]  # fmt: skip
MODELS = {
    "bpe_bytes": {"model_type": "bpe", "byte_fallback": True, "normalization_rule_name": "identity",
                  "remove_extra_whitespaces": False, "split_digits": True, "vocab_size": 620},
    "bpe_rules": {"model_type": "bpe", "user_defined_symbols": ["<sep>", "\n"], "rules": True, "vocab_size": 300},
    "bpe_bare": {"model_type": "bpe", "byte_fallback": True, "normalization_rule_name": "identity", "vocab_size": 560,
                 "add_dummy_prefix": False, "remove_extra_whitespaces": False, "split_by_whitespace": False},
    "unigram": {"model_type": "unigram", "rules": True, "vocab_size": 260},
    "unigram_bytes": {"model_type": "unigram", "byte_fallback": True, "normalization_rule_name": "identity",
                      "remove_extra_whitespaces": False, "user_defined_symbols": ["<sep>", "\n", "\t", "er", "river r"], "vocab_size": 520},
}  # fmt: skip


def train(name: str, options: dict) -> None:
    """Write one model."""
    rules = HERE / "rules.tsv"
    if options.pop("rules", False):
        lines = ["\t".join(" ".join(f"{ord(c):X}" for c in side) for side in rule) for rule in RULES]
        rules.write_text("\n".join(lines) + "\n")
        options["normalization_rule_tsv"] = str(rules)
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(SENTENCES * 3), model_prefix=str(HERE / name), num_threads=1, minloglevel=2,
        character_coverage=1.0, hard_vocab_limit=False, **options,
    )  # fmt: skip
    (HERE / f"{name}.vocab").unlink()
    rules.unlink(missing_ok=True)


def main() -> None:
    """Models and expected.json."""
    for name, options in MODELS.items():
        train(name, options)
    expected = {}
    for name in MODELS:
        library = sentencepiece.SentencePieceProcessor(model_file=str(HERE / f"{name}.model"))
        ids = library.encode(TEXTS)
        expected[name] = {"ids": ids, "decoded": library.decode(ids)}
    content = {"sentencepiece": sentencepiece.__version__, "texts": TEXTS, "models": expected}
    (HERE / "expected.json").write_text(json.dumps(content, ensure_ascii=True) + "\n")


if __name__ == "__main__":
    main()
