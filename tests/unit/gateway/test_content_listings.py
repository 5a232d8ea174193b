"""Listings: for whom in which form, how small, and whether they must be sent at all."""

import asyncio
import gzip
import json
import zlib
from collections.abc import AsyncIterator
from html.parser import HTMLParser
from typing import Any
from urllib.parse import urljoin, urlsplit

import pytest

from entrepot.core.v1 import serving_service_pb2
from entrepot_gateway.content.app import Content
from entrepot_gateway.content.listing import HtmlListing, JsonListing, listing_for
from entrepot_gateway.content.negotiation import takes_gzip
from entrepot_gateway.content.path import decode_path
from gateway_client import Client
from gateway_core import FakeCore
from served import DATE, TIME, Entry, Resolved, list_folder

# Names that were links to somewhere else, scripts or nothing in other servers' listings.
EVIL_NAMES = (
    " leading",
    "trailing ",
    "#fragment",
    "%",
    "%2e%2e",
    "%252f",
    "&amp;",
    "&lt;b&gt;",
    "'quoted'",
    "(1)",
    "+",
    "...",
    "-rf",
    "1.0~rc1+b2",
    ":",
    "a:b",
    "<script>alert(1)</script>",
    "=",
    "?query",
    "@3",
    "[v1]",
    "\\..\\x",
    "\"onmouseover='alert(1)'",
    "^`{|}",
    "http:",
    "javascript:alert(1)",
    "mailto:x@y",
    "name;v=1",
    "ｄｏｔ..",
    "e\u0301 and \u00e9",
    "\u202etxt.exe",
    "\u2215etc\u2215passwd",
    "🦫",
    "~root",
    "$HOME",
    "*",
    "!",
    ",",
)


class Links(HTMLParser):
    """What a page links to, and every tag that it has."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.targets: list[str] = []
        self.tags: set[str] = set()
        self.attributes: set[str] = set()
        self.feed(page)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note a tag."""
        self.tags.add(tag)
        self.attributes |= {name for name, _ in attrs}
        self.targets += [value for name, value in attrs if name == "href" and value]


@pytest.fixture
def client(content: Content) -> Client:
    """A client of the content origin, without any credential."""
    return Client(content, {})


@pytest.mark.parametrize(
    ("accept", "form"),
    [
        ("", HtmlListing),
        ("*/*", HtmlListing),
        ("text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8", HtmlListing),
        ("application/json", JsonListing),
        ("application/json, */*;q=0.5", JsonListing),
        ("APPLICATION/JSON; Q=0.3, text/*;q=0.2", JsonListing),
        ("application/json;q=0.5, text/html", HtmlListing),
        ("application/json;q=0.9, text/html;q=0.8", JsonListing),
        ("text/html;q=0, */*", JsonListing),
        ("application/*, text/html;q=0.9", JsonListing),
        ("application/json;q=0", HtmlListing),
        ("application/json;q=x", HtmlListing),
        ("application/json;charset=utf-8", JsonListing),
        ("image/png", HtmlListing),
        (",;,=;q", HtmlListing),
        ("application/json," + "x/y," * 5000, HtmlListing),
    ],
)
def test_the_client_chooses_the_form(accept: str, form: type) -> None:
    """JSON for those who like it better than HTML; pages for all others."""
    assert isinstance(listing_for(accept), form)


@pytest.mark.parametrize(
    ("accepted", "is_taken"),
    [
        ("", False),
        ("gzip", True),
        ("gzip, deflate, br, zstd", True),
        ("x-gzip", True),
        ("*", True),
        ("gzip;q=0", False),
        ("gzip;q=0, *", False),
        ("*;q=0", False),
        ("identity", False),
        ("identity, gzip;q=0.5", False),
        ("identity;q=0.5, gzip", True),
        ("br;q=1.0, gzip;q=0.8, *;q=0.1", True),
        ("gzip;q=2", False),
        ("deflate", False),
    ],
)
def test_the_client_chooses_to_save_bytes(accepted: str, is_taken: bool) -> None:
    """Only who says so gets gzip."""
    assert takes_gzip(accepted) is is_taken


@pytest.mark.parametrize("form", ["text/html", "application/json"])
async def test_a_listing_is_compressed(
    client: Client, core: FakeCore, files: dict[str, Resolved], form: str
) -> None:
    """To a fraction, and to the same bytes; what came first can be read before the rest comes."""
    del files
    list_folder(core, *(Entry(name=f"package-{number}.rpm") for number in range(500)))
    wanted = {"accept": form}

    plain = await client.request("GET", "/dev/a/", headers=wanted)
    async with client.open(
        "GET", "/dev/a/", headers=wanted | {"accept-encoding": "gzip"}
    ) as open_:
        await open_.finish()
        small = open_.answer
        first = await open_.arrived.get() + await open_.arrived.get()

    assert gzip.decompress(small.body) == plain.body
    assert len(small.body) < len(plain.body) / 5
    assert b"package-0.rpm" in zlib.decompressobj(31).decompress(first)
    assert small.headers["content-encoding"] == "gzip"
    assert "content-encoding" not in plain.headers
    assert small.headers["vary"] == plain.headers["vary"] == "accept, accept-encoding"


async def test_a_file_is_never_compressed(client: Client, stored: str) -> None:
    """Its bytes are those that were signed, and its tag names them."""
    answer = await client.request("GET", "/dev/a/x.txt", headers={"accept-encoding": "gzip"})

    assert answer.headers["etag"] == f'"{stored}"'
    assert "content-encoding" not in answer.headers
    assert "vary" not in answer.headers


async def test_a_listing_that_has_not_changed_is_not_made(
    client: Client, core: FakeCore, files: dict[str, Resolved]
) -> None:
    """Its tag changes with the content set, the folder and the form, and with nothing else."""
    pointer = serving_service_pb2.ResolvePointerResponse(
        distribution="distributions/zoo/dev", base_path="dev", content_set="7"
    )
    pointer.time.seconds = TIME
    core.on("ResolvePointer", pointer)
    list_folder(core, Entry(name="x"))
    files["b"] = files["a"]
    first = await client.request("GET", "/dev/a/")
    tag = first.headers["etag"]

    again = [
        await client.request("GET", "/dev/a/", headers=headers)
        for headers in (
            {"if-none-match": tag},
            {"if-none-match": tag.removeprefix("W/"), "accept-encoding": "gzip"},
            {"if-modified-since": DATE},
        )
    ]
    other = [
        await client.request("GET", path, headers={"if-none-match": tag, "accept": accept})
        for path, accept in (("/dev/b/", "*/*"), ("/dev/a/", "application/json"))
    ]

    assert tag.startswith('W/"')
    assert first.headers["last-modified"] == DATE
    assert [answer.status for answer in again] == [304, 304, 304]
    assert [answer.status for answer in other] == [200, 200]
    assert core.count("ListFolder") == 3


@pytest.mark.parametrize("accept", ["text/html", "application/json"])
@pytest.mark.parametrize("encoding", ["", "gzip"])
async def test_head_of_a_listing_has_the_same_fields(
    client: Client, core: FakeCore, files: dict[str, Resolved], accept: str, encoding: str
) -> None:
    """And makes no list."""
    del files
    list_folder(core, Entry(name="x"))
    wanted = {"accept": accept, "accept-encoding": encoding}

    head = await client.request("HEAD", "/dev/a/", headers=wanted)
    asked = core.count("ListFolder")
    get = await client.request("GET", "/dev/a/", headers=wanted)

    assert (head.status, head.headers, head.body) == (get.status, get.headers, b"")
    assert asked == 0


async def test_links_lead_to_what_they_name(
    client: Client, core: FakeCore, files: dict[str, Resolved]
) -> None:
    """Whatever a file is called: its link, read as browsers read it, decodes to its path."""
    del files
    list_folder(core, *(Entry(name=name, size_bytes=1) for name in EVIL_NAMES))

    answer = await client.request("GET", "/dev/a/")
    page = Links(answer.body.decode())
    found = [urljoin("http://content.test/dev/a/", target) for target in page.targets]

    assert found[0] == "http://content.test/dev/"
    assert {urlsplit(url).netloc for url in found} == {"content.test"}
    paths = [decode_path(url.removeprefix("http://content.test").encode()) for url in found[1:]]
    assert [path for path, _ in paths] == [f"dev/a/{name}" for name in EVIL_NAMES]
    assert page.tags <= {"html", "head", "meta", "title", "style", "body", "h1"} | {
        "table",
        "tr",
        "td",
        "a",
    }
    assert page.attributes <= {"lang", "charset", "href"}


async def test_json_has_every_name_as_it_is(
    client: Client, core: FakeCore, files: dict[str, Resolved]
) -> None:
    """In ASCII, so that no reader can take it for anything else."""
    del files
    list_folder(core, *(Entry(name=name) for name in EVIL_NAMES))

    answer = await client.request("GET", "/dev/a/", headers={"accept": "application/json"})

    assert [entry["name"] for entry in json.loads(answer.body)["entries"]] == list(EVIL_NAMES)
    assert answer.body.isascii()


async def test_a_hundred_thousand_files_come_as_they_are_read(
    client: Client, core: FakeCore, files: dict[str, Resolved]
) -> None:
    """The page begins with the first batch, before core has the second."""
    del files
    has_begun = asyncio.Event()

    async def batches(_: Any) -> AsyncIterator[serving_service_pb2.ListFolderResponse]:  # noqa: ANN401
        for number in range(500):
            yield serving_service_pb2.ListFolderResponse(
                entries=[Entry(name=f"{number}-{index}") for index in range(200)]
            )
            await has_begun.wait()

    core.on("ListFolder", batches)

    async with client.open("GET", "/dev/a/") as exchange:
        await exchange.until("0-199<")
        has_begun.set()
        await exchange.finish()

    assert exchange.answer.body.count(b"<tr>") == 100_001
