"""Language labels, scores and bounds."""

import pickle

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from operators.classify.fasttext_model import labels, load
from operators.classify.language import LABELS, Language, _model_path

SENTENCES = {
    "en": "The old bridge was closed for repairs last week, so everybody had to take the longer road home.",
    "de": "Die alte Brücke wurde letzte Woche wegen Bauarbeiten gesperrt, deshalb mussten alle einen Umweg fahren.",
    "fr": "Le vieux pont a été fermé la semaine dernière pour des travaux, et tout le monde a dû faire un détour.",
    "es": "El puente viejo se cerró la semana pasada por obras y todos tuvieron que volver a casa por otro camino.",
    "it": "Il vecchio ponte è stato chiuso la settimana scorsa per lavori e tutti hanno dovuto cambiare strada.",
    "pt": "A ponte antiga foi fechada na semana passada para obras e todos tiveram de voltar por outro caminho.",
    "nl": "De oude brug werd vorige week afgesloten voor herstel, dus iedereen moest een langere weg naar huis nemen.",
    "pl": "Stary most został w zeszłym tygodniu zamknięty z powodu remontu i wszyscy musieli jechać dłuższą drogą.",
    "sv": "Den gamla bron stängdes förra veckan för reparation, så alla var tvungna att ta den längre vägen hem.",
    "fi": "Vanha silta suljettiin viime viikolla korjausten vuoksi, joten kaikkien piti kulkea kotiin pidempää tietä.",
    "tr": "Eski köprü geçen hafta onarım için kapatıldı, bu yüzden herkes eve daha uzun yoldan dönmek zorunda kaldı.",
    "ru": "Старый мост закрыли на прошлой неделе на ремонт, поэтому всем пришлось ехать домой по длинной дороге.",
    "uk": "Старий міст минулого тижня закрили на ремонт, тому всім довелося повертатися додому довшою дорогою.",
    "el": "Η παλιά γέφυρα έκλεισε την περασμένη εβδομάδα για επισκευές και όλοι έπρεπε να πάρουν άλλο δρόμο.",
    "ar": "أغلق الجسر القديم الأسبوع الماضي للإصلاح ولذلك اضطر الجميع إلى العودة إلى البيت من الطريق الأطول",
    "he": "הגשר הישן נסגר בשבוע שעבר לצורך תיקונים ולכן כולם נאלצו לחזור הביתה בדרך הארוכה יותר מהרגיל",
    "hi": "पुराना पुल पिछले हफ्ते मरम्मत के लिए बंद कर दिया गया था इसलिए सबको लंबे रास्ते से घर जाना पड़ा",
    "th": "สะพานเก่าถูกปิดซ่อมเมื่อสัปดาห์ที่แล้ว ทุกคนจึงต้องกลับบ้านโดยใช้ถนนสายที่ไกลกว่าเดิม",
    "zh": "旧桥上星期因为维修而关闭，所以大家都只好走更远的那条路回家。孩子们觉得路上很有意思，老人们却抱怨天气太热，回到家的时候天已经黑了。",
    "ja": "古い橋は先週から修理のために閉鎖されているので、みんな遠回りの道を通って家に帰らなければなりませんでした。子どもたちは楽しそうでした。",
    "ko": "오래된 다리가 지난주에 수리 때문에 폐쇄되어서 모두가 더 먼 길로 집에 돌아가야 했습니다. 아이들은 그 길을 아주 재미있어했습니다.",
    "vi": "Cây cầu cũ đã bị đóng để sửa chữa vào tuần trước nên mọi người phải đi về nhà bằng con đường dài hơn.",
}  # fmt: skip


def measure(operator: Language, *texts: str | None) -> list[tuple[str, float | None]]:
    docs = pa.table({"id": [bytes([i]) for i in range(len(texts))], "text": pa.array(texts, pa.large_string())})
    found = operator.measure(docs)
    assert found["label"].type == pa.string()
    assert found["score"].type == pa.float64()
    return list(zip(found["label"].to_pylist(), found["score"].to_pylist(), strict=True))


def test_twenty_two_languages() -> None:
    found = measure(Language(), *SENTENCES.values())
    assert [label for label, _ in found] == list(SENTENCES)
    assert all(score is not None and 0.5 < score <= 1 for _, score in found)


@pytest.mark.parametrize("text", [None, "", "   ", "\n\n", "x" * 49, " " * 40 + "hello" + " " * 40, "\x00"])
def test_too_short_to_tell(text: str | None) -> None:
    assert measure(Language(), text) == [("und", None)]


def test_length_counts_characters_not_bytes() -> None:
    assert measure(Language(min_chars=5), "你好世界吗")[0][0] == "zh"
    assert measure(Language(min_chars=6), "你好世界吗") == [("und", None)]


def test_breaks_do_not_end_the_text() -> None:
    one_line = SENTENCES["de"]
    for broken in (one_line.replace(" ", "\n"), one_line.replace(" ", " </s> "), one_line.replace(" ", "\x00")):
        assert measure(Language(), broken)[0][0] == "de"


def test_only_the_beginning_is_read() -> None:
    text = SENTENCES["fr"] + " " + SENTENCES["ru"] * 50
    assert measure(Language(max_chars=100), text)[0] == measure(Language(max_chars=0), text[:100])[0]
    assert measure(Language(max_chars=0), text)[0][0] == "ru"


def test_the_whole_batch_scores_as_each_text_alone() -> None:
    texts = [*SENTENCES.values(), "", None, "short"]
    alone = [measure(Language(), text)[0] for text in texts]
    assert measure(Language(), *texts) == alone
    model = load(_model_path())
    for (label, score), text in zip(alone, SENTENCES.values(), strict=False):
        (name,), (probability,) = model.predict(text)
        assert (name, score) == (f"__label__{label}", min(float(probability), 1.0))


@settings(max_examples=50, deadline=None)
@given(texts=st.lists(st.text(max_size=120), max_size=4))
def test_any_text_has_an_answer(texts: list[str]) -> None:
    found = measure(Language(min_chars=0), *texts)
    assert found == [measure(Language(min_chars=0), text)[0] for text in texts]
    assert all(label in LABELS or (label == "und" and score is None) for label, score in found)


def test_labels_are_those_of_the_model() -> None:
    assert list(LABELS) == labels(load(_model_path()))


def test_bounds() -> None:
    assert Language().bounds == ()
    language, score = Language(keep=("en", "zh"), min_score=0.5).bounds
    assert (language.measure, language.among, language.reason) == ("label", ("en", "zh"), "language")
    assert (score.measure, score.min, score.exclusive, score.reason) == ("score", 0.5, False, "score")
    assert len(Language(keep=("en", "und"), min_score=None).bounds) == 1


@pytest.mark.parametrize(
    ("parameters", "hint"),
    [
        ({"keep": ("eng",)}, "near: en"),
        ({"keep": ("en", "und")}, "min_score"),
        ({"max_chars": 10}, "min_chars"),
        ({"keeps": ("en",)}, "keeps"),
        ({"min_score": 1.5}, "min_score"),
    ],
)
def test_mistakes_are_named(parameters: dict[str, object], hint: str) -> None:
    with pytest.raises(ValidationError, match=hint):
        Language(**parameters)


def test_is_a_value() -> None:
    operator = Language(keep=["en"])
    assert pickle.loads(pickle.dumps(operator)) == operator
    assert hash(operator) == hash(Language(keep=("en",)))
