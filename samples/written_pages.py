"""The few pages that are not real: written for Sluice, or laid out by it from CC0 comments.

They hold what free pages lack: invented e-mail and IP addresses, advertising, insults. The names, the mail
domain and the quarrels are made up; the addresses are those of MaxMind's public test data.
"""

from __future__ import annotations

import html
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path

from sample_sources import CC0, Page, rows

AUTHOR = "The Sluice authors"
_OURS = "written for Sluice, released as CC0 1.0 (samples/README.md)"

_THREADS = {
    "en": [
        (
            "Mirror does not finish its nightly sync",
            (
                "Since Tuesday our mirror stops in the middle of the nightly sync. The log says that the peer 81.2.69.142 closed "
                "the connection after about twenty minutes, and the next attempt starts again from the first file. I have read "
                "the manual and raised the timeout, but that has not helped. Has anybody seen this with the new release? You can "
                "also write to me directly at mirror-admin@lists.example-mail.com and I will send the whole log."
            ),
            (
                "We had the same problem and it was the firewall of the provider. It drops connections that have been idle for "
                "fifteen minutes, and the sync is idle while the other side computes its checksums. Please try the keep-alive "
                "option that was added in the spring. If that does not help, send a trace to net-team@lists.example-mail.com "
                "and tell them that the request came from 89.160.20.112, so that they can find it in their own records."
            ),
        ),
        (
            "How do I move a mailing list to another host?",
            (
                "I have to move three mailing lists to a new machine before the end of the month. The archives are about two "
                "gigabytes and the members should not notice that anything has changed. The old host is 2.125.160.216 and the new "
                "one will be 216.160.83.56, both with the same version of the software. What is the safest order of the steps?"
            ),
            (
                "Stop the delivery first, then copy the archives, and only then change the name server entry. We did it that way "
                "last year and lost no message. Lower the lifetime of the entry to five minutes a day before you start, and keep "
                "the old host running for a week, because some senders hold on to the old address for that long. Ask "
                "postmaster@lists.example-mail.com to add the new host to the list of trusted relays before you switch."
            ),
        ),
        (
            "Backup server refuses the key of one client",
            (
                "One of our clients can no longer write its backup, and the server only says that the key was refused. The other "
                "clients work. The client has the address 175.16.199.14 and its key was made two years ago. I have compared the "
                "fingerprints with those in the file on the server and they are the same on both sides."
            ),
            (
                "Keys of that age were often made with an algorithm that the new release no longer accepts. Make a new key on the "
                "client, add it to the file on the server, and remove the old one when the first backup has gone through. If you "
                "cannot reach the machine, write to backup-desk@lists.example-mail.com and somebody at the site will do it. They "
                "answer during office hours, and they also have the password of the console at 81.2.69.160."
            ),
        ),
        (
            "Reports of the library catalogue being slow",
            (
                "Readers tell us that the search in the catalogue takes more than ten seconds in the afternoon. The morning is "
                "fine. I looked at the requests of one day and found that half of them come from 89.160.20.128, which asks for "
                "every page of every result list. It does not identify itself and it does not respect the robots file."
            ),
            (
                "That is somebody who copies the catalogue. We offer the whole catalogue as one file, which is better for them "
                "and for us. Limit that address to one request in two seconds, and send a friendly message that points to the "
                "file. The data team at open-data@lists.example-mail.com has a text for this purpose and keeps a record of the "
                "answers, so please tell them when you have written."
            ),
        ),
    ],
    "zh": [
        (
            "镜像站夜间同步经常中断",
            (
                "从星期二开始，我们的镜像站在夜间同步时经常中断。日志显示，对方主机 81.2.69.142 在大约二十分钟之后关闭了连接，"
                "下一次尝试又会从第一个文件重新开始。我已经阅读了手册，并且延长了超时时间，但是没有效果。请问有人在新版本中遇到过"
                "同样的问题吗？也可以直接写信到 mirror-admin@lists.example-mail.com，我会把完整的日志发给您。"
            ),
            (
                "我们也遇到过同样的情况，原因是运营商的防火墙会切断空闲超过十五分钟的连接，而同步程序在计算校验和的时候是没有数据传输的。"
                "请试一试今年春天新增加的保持连接选项。如果还是不行，请把抓包文件发到 net-team@lists.example-mail.com，"
                "并且说明请求来自 89.160.20.112，这样他们就可以在自己的记录里找到它。"
            ),
        ),
        (
            "怎样把邮件列表迁移到另一台主机？",
            (
                "我需要在月底之前把三个邮件列表迁移到一台新的机器上。归档文件大约有两个吉字节，希望成员们不会察觉到任何变化。"
                "旧主机的地址是 2.125.160.216，新主机的地址是 216.160.83.56，两边安装的软件版本相同。请问按照什么顺序操作最安全？"
            ),
            (
                "请先停止投递，然后复制归档文件，最后再修改域名解析记录。我们去年就是这样做的，没有丢失任何一封信。开始的前一天，"
                "请把解析记录的有效期缩短到五分钟，并且让旧主机继续运行一个星期，因为有些发信方会长时间使用旧的地址。切换之前，"
                "请联系 postmaster@lists.example-mail.com，把新主机加入可信任的中继名单。"
            ),
        ),
        (
            "图书馆目录在下午查询很慢",
            (
                "读者反映，目录查询在下午需要十秒以上，而上午是正常的。我查看了一天的访问记录，发现一半的请求来自 89.160.20.128，"
                "它逐页抓取所有的查询结果，既没有说明自己的身份，也没有遵守网站的抓取规则。请问应该怎样处理比较合适？"
            ),
            (
                "这是有人在复制整个目录。其实我们提供完整目录的下载文件，对双方都更方便。建议先把这个地址限制为每两秒一次请求，"
                "然后写一封友好的信，告诉对方下载文件的位置。数据小组 open-data@lists.example-mail.com 有现成的信件样本，"
                "也会保存对方的答复，所以写信之后请通知他们一声。"
            ),
        ),
    ],
}

ADVERTS = {
    "en": [
        "EARN $5,000 A WEEK FROM HOME!!!",
        "CLICK HERE >>> FREE TRIAL <<< CLICK HERE",
        "Lose 30 pounds in 10 days, 100% guaranteed, no diet, no exercise!!!",
        "### LIMITED OFFER ### ONLY TODAY ### BUY NOW ###",
        "Best price pills online no prescription cheap fast shipping best price pills online",
        "You are our 1,000,000th visitor! Claim your PRIZE now ...",
        "Make money fast $$$ work at home $$$ no risk $$$ call now",
        "Replica watches cheap replica watches best replica watches buy replica watches",
        "Casino bonus, free spins, casino bonus, free spins, casino bonus, free spins",
        "Unsubscribe | Privacy | Remove me | Forward to a friend | Report",
    ],
    "zh": [
        "限时特价！！！全场包邮！！！点击购买",
        "加微信领红包 加微信领红包 加微信领红包",
        "在家兼职，日赚五千，无需经验，名额有限",
        "十天减肥三十斤，无效退款，立即抢购",
        "代开发票 代办证件 诚信经营 电话联系",
        "点击进入 >>> 免费试用 <<< 点击进入",
        "恭喜您中奖了！请立即领取！！！",
        "最新棋牌 送彩金 最新棋牌 送彩金 最新棋牌 送彩金",
        "首页 | 登录 | 注册 | 充值 | 客服 | 排行榜 | 收藏本站",
        "热门推荐 更多>> 猜你喜欢 更多>> 友情链接 更多>>",
    ],
}

_QUARREL_ZH = [
    "你真是个白痴，连说明书都看不懂，还来这里丢人现眼。",
    "笨蛋才会买这种东西，你们这些蠢货活该被骗。",
    "楼上的傻瓜，闭嘴吧，没人想听你的废话。",
    "写这篇文章的人就是个混蛋，满嘴胡说八道，垃圾文章。",
    "滚开，你这个骗子，无耻的家伙，别再发这种垃圾了。",
    "一群饭桶，连这么简单的事情都做不好，真是废物。",
    "蠢猪一样的客服，问什么都不知道，气死我了，白痴公司。",
    "懒得和你这种笨蛋争论，脑残一个，自己去看书吧。",
    "这么弱智的问题也好意思问，你是猪脑子吗？",
    "卖家就是个无赖，谁信谁是傻子，大家别上当。",
    "别在这里装懂了，蠢材，你连标题都没有看清楚。",
    "又是这个神经病来捣乱，管理员快把这个混蛋赶出去。",
]

# Comments of the toxic-spans corpus (Civil Comments, CC0) without names, politics, or worse than insults.
COMMENTS = (
    6, 194, 239, 423, 490, 568, 605, 657, 976, 988, 1013, 1049, 1097, 1227, 1265, 1288,
    1296, 1343, 1345, 1362, 1381, 1384, 1415, 1426, 1428, 1450, 1585, 1614, 1655, 1759, 1768, 1896,
    1900, 1920, 1984, 2019, 2031, 2061, 276, 662, 787, 835, 944, 1599,
)  # fmt: skip


def _page(title: str, paragraphs: list[str], lang: str) -> bytes:
    body = "\n".join(f"<p>{html.escape(text)}</p>" for text in paragraphs)
    head = f'<meta charset="utf-8"><title>{html.escape(title)}</title>'
    return (
        f'<!DOCTYPE html>\n<html lang="{lang}"><head>{head}</head><body><main><article>\n'
        f"<h1>{html.escape(title)}</h1>\n{body}\n</article></main></body></html>\n"
    ).encode()


def _ours(url: str, body: bytes, kind: str) -> Page:
    return Page(
        url=url,
        body=body,
        author=AUTHOR,
        licence=CC0,
        proof=_OURS,
        kind=kind,
        changes="written for Sluice, not crawled",
    )


def threads() -> Iterator[Page]:
    """Support threads with e-mail and IP addresses to scrub."""
    for lang, found in _THREADS.items():
        for number, (title, *posts) in enumerate(found):
            yield _ours(
                f"https://lists.example-mail.com/archive/{lang}/{number:04d}.html",
                _page(title, posts, lang),
                f"thread-{lang}",
            )


def adverts() -> Iterator[Page]:
    """Advertising: the same lines in another order on each page."""
    for lang, lines in ADVERTS.items():
        for number in range(6):
            turned = [lines[(number * 3 + step * 7) % len(lines)] for step in range(len(lines) * 2)]
            yield _ours(
                f"http://shop{number}.example-offers.com/{lang}/", _page(lines[number], turned, lang), f"advert-{lang}"
            )


def quarrels(data: Path) -> Iterator[Page]:
    """Insulting comments: Chinese ones of our own, English ones of Civil Comments."""
    for number in range(2):
        posts = _QUARREL_ZH[number * 5 :] + _QUARREL_ZH[: number * 3]
        yield _ours(f"https://forum.example-mail.com/zh/{number}.html", _page("网友评论", posts, "zh"), "quarrel-zh")
    texts = {
        int(row["id"].removeprefix("tsd_train-")): row["text"]
        for row in rows(data / "toxicity" / "toxic_spans_train.jsonl.zst")
    }
    for number in range(4):
        posts = [" ".join(texts[key].split()) for key in COMMENTS[number::4]]
        yield Page(
            url=f"https://comments.example-news.com/archive/{number}.html",
            body=_page("Reader comments", posts, "en"),
            author="Civil Comments users (anonymous)",
            licence=CC0,
            proof="Civil Comments, released under CC0 by its publisher; selection of ipavlopoulos/toxic_spans (CC0)",
            kind="quarrel-en",
            changes="layout by Sluice, text CC0; ids " + " ".join(map(str, COMMENTS[number::4])),
        )


def _png() -> bytes:
    """A grey square of 16 by 16 pixels."""

    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    rows_of_pixels = (b"\x00" + b"\x80" * 16) * 16
    header = struct.pack(">IIBBBBB", 16, 16, 8, 0, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + chunk(b"IDAT", zlib.compress(rows_of_pixels))
        + chunk(b"IEND", b"")
    )


def odd_records() -> Iterator[tuple[str, str, str, bytes]]:
    """What a crawl holds besides pages: (url, status, content type, body)."""
    moved = b"<html><head><title>301 Moved</title></head><body>Moved permanently.</body></html>"
    missing = b"<html><head><title>404 Not Found</title></head><body>There is no such page.</body></html>"
    yield "https://debian-handbook.info/robots.txt", "200 OK", "text/plain", b"User-agent: *\nDisallow: /private/\n"
    yield "https://lists.example-mail.com/icon.png", "200 OK", "image/png", _png()
    yield "http://lists.example-mail.com/archive/", "301 Moved Permanently", "text/html", moved
    yield "https://lists.example-mail.com/archive/gone.html", "404 Not Found", "text/html", missing
    yield "https://packaging.ubuntu.com/html/removed.html", "404 Not Found", "text/html; charset=UTF-8", missing
    yield "https://lists.example-mail.com/empty.html", "200 OK", "text/html", b""


def others() -> Iterator[Page]:
    """The odd records as pages."""
    for url, status, content_type, body in odd_records():
        yield Page(
            url=url,
            body=body,
            author=AUTHOR,
            licence=CC0,
            proof=_OURS,
            kind="odd",
            status=status,
            content_type=content_type,
            changes="written for Sluice, not crawled",
        )
