"""Names of languages: what other tools write (``eng_Latn``, ``zh-CN``, ``deu``) as the short labels used here."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

_LONGER = """
    af:afr am:amh ar:ara,arb as:asm az:aze,azj ba:bak be:bel bg:bul bn:ben bo:bod,tib bs:bos ca:cat
    cs:ces,cze cy:cym,wel da:dan de:deu,ger el:ell,gre en:eng eo:epo es:spa et:est,ekk eu:eus,baq fa:fas,per,pes
    fi:fin fr:fra,fre fy:fry ga:gle gd:gla gl:glg gu:guj ha:hau he:heb,iw hi:hin hr:hrv ht:hat hu:hun hy:hye,arm
    id:ind,in ig:ibo is:isl,ice it:ita ja:jpn jv:jav,jw ka:kat,geo kk:kaz km:khm kn:kan ko:kor ku:kur,kmr ky:kir
    la:lat lb:ltz lo:lao lt:lit lv:lav,lvs mg:mlg,plt mi:mri,mao mk:mkd,mac ml:mal mn:mon,khk mr:mar ms:msa,may,zsm
    mt:mlt my:mya,bur ne:nep,npi nl:nld,dut nn:nno no:nor,nob,nb oc:oci or:ori,ory pa:pan pl:pol ps:pus,pbt pt:por
    ro:ron,rum,mo ru:rus rw:kin sa:san sd:snd si:sin sk:slk,slo sl:slv sn:sna so:som sq:sqi,alb sr:srp su:sun sv:swe
    sw:swa,swh ta:tam te:tel tg:tgk th:tha tk:tuk tl:tgl,fil tr:tur tt:tat ug:uig uk:ukr ur:urd uz:uzb,uzn vi:vie
    xh:xho yi:yid,ydd,ji yo:yor zh:zho,chi,cmn zu:zul und:unk,unknown
"""
_SHORT = {
    code: short for pair in _LONGER.split() for short, _, codes in [pair.partition(":")] for code in codes.split(",")
}
"""ISO 639-3, ISO 639-2/B, the largest member of a macrolanguage, and withdrawn codes. Egyptian and Moroccan Arabic stay
what they are, like all that is not here."""

_SCRIPTS = {
    "ar": "arab", "bg": "cyrl", "bn": "beng", "el": "grek", "fa": "arab", "gu": "gujr", "he": "hebr", "hi": "deva",
    "hy": "armn", "ja": "jpan hira kana", "ka": "geor", "kk": "cyrl", "ko": "hang kore", "mk": "cyrl", "mr": "deva",
    "pa": "guru", "ru": "cyrl", "sr": "cyrl", "ta": "taml", "te": "telu", "th": "thai", "uk": "cyrl", "ur": "arab",
    "zh": "hani hans hant",
}  # fmt: skip
"""The scripts that limits and lists of a language are made for; Latin for those that are not here."""
_LATIN = frozenset(
    ("ca", "cs", "da", "de", "en", "es", "et", "eu", "fi", "fr", "hr", "hu", "id", "is", "it", "lt", "lv", "ms", "nl", "no",
     "pl", "pt", "ro", "sk", "sl", "sq", "sv", "sw", "tr", "vi")
)  # fmt: skip
_ALBANIAN = "als"
"""Tosk Albanian in ISO 639-3, Alemannic as lid.176 has it; told apart by the script that only the former's users name."""


@lru_cache(maxsize=4096)
def short_label(label: str) -> str:
    """The label used here for a language named by BCP 47, ISO 639-2 or 639-3, with or without script and region.

    ``en_US``, ``eng``, ``eng_Latn`` are ``en``; ``zh-CN``, ``zh-Hant-TW``, ``cmn_Hani`` are ``zh``. A language in
    another script than its usual one, as romanised Hindi ``hin_Latn``, and what is not known stay as they are.
    """
    code, *subtags = label.strip().lower().replace("_", "-").split("-")
    extended = [tag for tag in subtags if len(tag) == 3 and tag.isalpha()]
    script = next((tag for tag in subtags if len(tag) == 4 and tag.isalpha()), None)
    if extended and code == "zh":  # zh-cmn, zh-yue: the language is the second
        code = extended[0]
    short = "sq" if code == _ALBANIAN and script else _SHORT.get(code, code)
    usual = _SCRIPTS.get(short, "latn" if short in _LATIN else None)
    if not short.isalpha() or not 2 <= len(short) <= 3 or (script and usual and script not in usual.split()):
        return label
    return short


@lru_cache(maxsize=4096)
def place_of(label: str, names: tuple[str, ...]) -> int:
    """Where a language stands among some names, -1 where it does not.

    As it is written, else by its short label; a name that stands for it in long form counts where it is the only one.
    """
    short = short_label(label)
    for wanted in (label, short):
        if wanted in names:
            return names.index(wanted)
    alike = [k for k, name in enumerate(names) if short_label(name) == short]
    return alike[0] if len(alike) == 1 else -1


def places(labels: pa.Array | pa.ChunkedArray, names: Sequence[str]) -> npt.NDArray[np.int64]:
    """``place_of`` for each row of a string column, -1 for null: int64 (rows,)."""
    codes, distinct = _coded(labels)
    wanted = tuple(names)
    return np.array([*(place_of(label, wanted) for label in distinct), -1], np.int64)[codes]


def short_labels(labels: pa.Array | pa.ChunkedArray) -> pa.Array:
    """``short_label`` for each row of a string column."""
    codes, distinct = _coded(labels)
    return pa.array([*map(short_label, distinct), None], pa.string()).take(pa.array(codes))


def _coded(labels: pa.Array | pa.ChunkedArray) -> tuple[npt.NDArray[np.int64], list[str]]:
    """The distinct labels, and each row's place among them; behind the last for null."""
    array = labels.combine_chunks() if isinstance(labels, pa.ChunkedArray) else labels
    distinct = pc.drop_null(pc.unique(array))
    codes = pc.fill_null(pc.index_in(array, distinct), len(distinct))
    return codes.to_numpy(zero_copy_only=False).astype(np.int64), distinct.to_pylist()
