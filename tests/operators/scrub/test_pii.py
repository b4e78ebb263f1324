"""E-mail and IP addresses, and what only looks like them."""

import ipaddress
import pickle
import random

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from operators.kernels.ip_address import is_global_v4, is_global_v6
from operators.scrub.pii import ScrubPii


def documents(*texts: str | None) -> pa.Table:
    ids = pa.array([bytes([i]) for i in range(len(texts))], pa.binary())
    return pa.table({"id": ids, "text": pa.array(texts, pa.large_string())})


def scrub(text: str | None, **parameters: object) -> tuple[str | None, int, int]:
    row = ScrubPii(**parameters).map(documents(text)).to_pylist()[0]
    return row["text"], row["scrub_pii.emails"], row["scrub_pii.ips"]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Write to a.b+c_d@mail.example.co.uk.", "Write to <EMAIL>."),
        ("x@example.com", "<EMAIL>"),
        ("<x@example.com>,mailto:y@example.org;", "<<EMAIL>>,mailto:<EMAIL>;"),
        ("请联系me@example.cn谢谢", "请联系<EMAIL>谢谢"),
        ("连絡先：info@example.jpまで", "连絡先：<EMAIL>まで"),
        ("이메일user@example.kr으로", "이메일<EMAIL>으로"),
        ("user＠example.com", "<EMAIL>"),
        ("müller@bücher.example иван@почта.рф", "<EMAIL> <EMAIL>"),
        ("mu\u0308ller@example.com", "<EMAIL>"),  # decomposed
        ("×x@example.com÷", "×<EMAIL>÷"),
        ("See you...bob@example.com", "See you...<EMAIL>"),
        ("-bob@example.com-", "-<EMAIL>-"),
        ("a@b.com@c.com", "<EMAIL>@c.com"),
        ("a@@b.com", "a@@b.com"),
        ("x@example.com-beta x@EXAMPLE.COM_", "<EMAIL>-beta <EMAIL>_"),
        ("x@xn--bcher-kva.xn--p1ai", "<EMAIL>"),
        ("k@" + "a" * 63 + ".com", "<EMAIL>"),
        ("k" * 64 + "@example.com", "<EMAIL>"),
    ],
)
def test_emails(text: str, expected: str) -> None:
    assert scrub(text)[0] == expected


@pytest.mark.parametrize(
    "text",
    [
        "follow @nasa and @open_data", "icon@2x.png", "user@localhost", "lodash@4.17.21", "me@example.c", "a @ b.com",
        "flickr.com/photos/12345@N00/", "x@-example.com", "x@example-.com", "x@.com", "x.@example.com", "@example.com",
        "k" * 65 + "@example.com", "k@" + "a" * 64 + ".com", "数据@例子.中国", "x@example..com", "\u3099@example.com",
    ],
)  # fmt: skip
def test_no_emails(text: str) -> None:
    assert scrub(text) == (text, 0, 0)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("8.8.8.8", "<IP>"),
        ("from 93.184.216.34, or 93.184.216.0/24.", "from <IP>, or <IP>/24."),
        ("http://163.38.182.38:8080/x (174.81.143.143)", "http://<IP>:8080/x (<IP>)"),
        ("地址是163.38.182.38吗", "地址是<IP>吗"),
        ("8.8.8.8-8.8.8.20", "<IP>-<IP>"),
        ("Our IP.93.184.216.34 8.8.8.8.Next", "Our IP.<IP> <IP>.Next"),
        ("2606:4700:4700::1111 and 2a00:1450:4001:82a:0:0:0:200e.", "<IP> and <IP>."),
        ("http://[2606:4700:4700::1111]:80/ is 2606:4700:4700::1111:", "http://[<IP>]:80/ is <IP>:"),
        ("::ffff:93.184.216.34", "::ffff:<IP>"),
        ("8.8.8.8@22", "<IP>@22"),
        ("  8.8.8.8 is public", "  <IP> is public"),
        ("2.1.3.40 Scope", "<IP> Scope"),
    ],
)
def test_addresses(text: str, expected: str) -> None:
    assert scrub(text)[0] == expected


@pytest.mark.parametrize(
    "text",
    [
        "10.1.2.3 127.0.0.1 192.168.19.222 172.16.0.1 100.64.0.1 169.254.1.1", "192.0.2.1 198.51.100.7 203.0.113.9", "224.0.0.1",
        "255.255.255.255", "0.0.0.0", "1.2.3.4.5", "1.2.3", "1.2.3.256", "1.2.3.1000", "01.2.3.4", "1.2.3.04", "2009-07-13",
        "12.05.2010", "v4.7.5.1", "version 4.7.5.1", "Version: 4.7.5.1", "Firmware 4.7.5.1", "see section 2.1.3.4", "§ 2.1.3.4",
        "版本 4.7.5.1", "版本：4.7.5.1", "2.1.3.4 Scope", "## 2.1.3.4 范围\n", "2.1.3.4. Scope", "a\n11.5.1.2. /etc/hosts", "15.4.2.1.\u00a0规则", "Section\u00a04.2.1.1", "a\n2.1.3.4  Über", "4.7.5.1-beta", "Chrome/61.0.3163.100",
        "8.8.8.8.example", "x8.8.8.8", "8.8.8.8x", "8.8.8.8_", "12:30:45", "std::abc", "fe80::1 ::1 fc00::1 2001:db8::1", "2001::1",
        "20:21:22:23:24:25:26:27:28", "2606:4700:::1", "2606:4700::1::2", "2606:47001::1", "ISBN 978-3-772-81839-8", "$28,804.52",
    ],
)  # fmt: skip
def test_no_addresses(text: str) -> None:
    assert scrub(text) == (text, 0, 0)


def test_both_are_counted_and_only_what_is_asked_for_goes() -> None:
    text = "a@example.com from 8.8.8.8 or b@example.com"
    assert scrub(text) == ("<EMAIL> from <IP> or <EMAIL>", 2, 1)
    assert scrub(text, types=("ip",)) == ("a@example.com from <IP> or b@example.com", 0, 1)
    assert scrub(text, types=["email"], email_placeholder="[mail]") == ("[mail] from 8.8.8.8 or [mail]", 2, 0)
    assert [scrub(text) for text in (None, "", " \n", "\x00", "\u202e")] == [
        (t, 0, 0) for t in (None, "", " \n", "\x00", "\u202e")
    ]


def test_the_rest_of_the_table_stays() -> None:
    docs = documents("a@example.com", None, "", "数 8.8.8.8").append_column("label", pa.array([1, 2, 3, 4]))
    before = pa.table(docs.to_pydict(), docs.schema)
    out = ScrubPii().map(docs)
    assert docs.equals(before)
    assert out.column_names == ["id", "text", "label", "scrub_pii.emails", "scrub_pii.ips"]
    assert out["text"].to_pylist() == ["<EMAIL>", None, "", "数 <IP>"]
    assert out["label"].to_pylist() == [1, 2, 3, 4]
    out.validate(full=True)
    assert ScrubPii().map(docs.slice(0, 0)).schema == out.schema
    assert ScrubPii().map(docs.slice(2))["text"].to_pylist() == ["", "数 <IP>"]


PIECES = st.lists(
    st.sampled_from(
        ["a", "A", "@", "＠", ".", "com", "8", "8.8.8.8", "x@y.zz", ":", "::", "2606:", "-", "_", "%", "é", "数", " ", "\n", "/",
         "version", "v", "§", "\u0301", "\x00", "<", "0", "25", "xn--"]),
    max_size=14,
).map("".join)  # fmt: skip


@settings(max_examples=400, deadline=None)
@given(text=PIECES)
def test_twice_changes_nothing(text: str) -> None:
    once, emails, ips = scrub(text)
    assert scrub(once) == (once, 0, 0)
    assert (emails + ips > 0) == (once != text)


@settings(max_examples=100, deadline=None)
@given(texts=st.lists(PIECES | st.text() | st.none(), max_size=5), cut=st.integers(0, 5))
def test_batches_do_not_matter(texts: list[str | None], cut: int) -> None:
    docs = documents(*texts)
    halves = pa.concat_tables([ScrubPii().map(docs.slice(0, cut)), ScrubPii().map(docs.slice(cut))]).combine_chunks()
    assert ScrubPii().map(docs).equals(halves)


@pytest.mark.parametrize("unit", ["a", "a.", "a@", "1.", "@", "1:", "2001:", "::", "a@b.", "é", "8.8.8.8", "x@y.zz "])
def test_a_megabyte_of_one_thing_is_no_trouble(unit: str) -> None:
    once, _, _ = scrub(unit * (1_000_000 // len(unit)))
    assert scrub(once) == (once, 0, 0)


def test_v4_is_public_as_the_standard_library_says() -> None:
    draw = random.Random(5)
    edges = ["9.255.255.255", "11.0.0.0", "100.63.255.255", "100.128.0.0", "172.15.255.255", "172.32.0.0", "198.17.255.255",
             "198.20.0.0", "223.255.255.255", "224.0.0.0", "192.0.1.0", "1.0.0.0"]  # fmt: skip
    for address in [
        *map(ipaddress.IPv4Address, edges),
        *(ipaddress.IPv4Address(draw.getrandbits(32)) for _ in range(3000)),
    ]:
        ours = is_global_v4(np.array(list(address.packed), np.int64))
        assert ours == (address.is_global and not address.is_multicast), address


def test_v6_is_public_as_the_standard_library_says() -> None:
    draw = random.Random(5)
    for _ in range(3000):
        value = draw.getrandbits(128) & draw.getrandbits(128) | draw.choice([0x20, 0x26, 0x2A, 0x30, 0xFE]) << 120
        address = ipaddress.IPv6Address(value)
        if address in ipaddress.IPv6Network("2002::/16") or address in ipaddress.IPv6Network("3fff::/20"):
            continue  # Python versions differ
        public = address.is_global and address in ipaddress.IPv6Network("2000::/3")
        for text in (address.compressed, address.exploded):
            assert is_global_v6(np.frombuffer(text.encode(), np.uint8)) == public, text


@pytest.mark.parametrize(
    ("parameters", "hint"),
    [({"types": ("phone",)}, "phone"), ({"types": ()}, "types"), ({"ip_placeholder": "0.0.0.0"}, "placeholder"),
     ({"email_placeholder": "EMAIL"}, "placeholder"), ({"email_placeholder": "<a@b.cc>"}, "placeholder")],
)  # fmt: skip
def test_mistakes_are_named(parameters: dict[str, object], hint: str) -> None:
    with pytest.raises(ValidationError, match=hint):
        ScrubPii(**parameters)


def test_is_a_value() -> None:
    assert pickle.loads(pickle.dumps(ScrubPii())) == ScrubPii(types=["email", "ip"])
    assert ScrubPii.scrubs
