"""The gallery's routes, headers and refusals, over real connections to the loopback address."""

from __future__ import annotations

import http.client
import json
import socket
import threading
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlsplit

import pytest

from worker.lab.local.gallery import Gallery

if TYPE_CHECKING:
    from collections.abc import Iterator

HOSTILE = "<img src=x onerror=alert(1)>/\u202e\U0001f4f7 #%?&\"'"
RENDITION = "photos/a/b/17-3fd0c1a2b4e5/320.webp"
ODD_RENDITION = f"photos/{HOSTILE}/18-3fd0c1a2b4e5/full.webp"
UNNAMED = "photos/a/b/16-000000000000/320.webp"
LOST = "photos/a/b/17-3fd0c1a2b4e5/512.webp"
PROMPT_SECONDS = 5.0


def photo(photo_id: str, *objects: str) -> dict[str, Any]:
    renditions = [{"rung": "320", "object": name, "width": 320, "height": 213} for name in objects]
    return {
        "photo_id": photo_id,
        "status": "ready" if objects else "waiting",
        "reason": None,
        "message": None,
        "bytes_in": 1000,
        "bytes_out": 10 if objects else None,
        "seconds": 0.5 if objects else None,
        "manifest": {"state": "ready", "renditions": renditions} if objects else None,
    }


class Photos:
    """A snapshot and a bucket to change during a test; knows which names were fetched."""

    def __init__(self) -> None:
        self.state: dict[str, Any] = {
            "title": "hanoi-2026",
            "done": False,
            "broker": "embedded",
            "photos": [photo("a/b", RENDITION, LOST), photo(HOSTILE, ODD_RENDITION), photo("c")],
        }
        self.objects = {RENDITION: b"RIFF-small", ODD_RENDITION: b"RIFF-odd", UNNAMED: b"secret"}
        self.fetched: list[str] = []

    def snapshot(self) -> dict[str, Any]:
        return self.state

    def fetch(self, name: str) -> bytes | None:
        self.fetched.append(name)
        return self.objects.get(name)


class Answer:
    def __init__(self, response: http.client.HTTPResponse) -> None:
        self.status = response.status
        self.headers = response.headers
        self.body = response.read()


def ask(
    gallery: Gallery, target: str, *, method: str = "GET", hosts: tuple[str, ...] | None = None
) -> Answer:
    """One request with the target exactly as given: no client tidies a traversal away."""
    address = urlsplit(gallery.url)
    assert address.hostname is not None
    connection = http.client.HTTPConnection(
        address.hostname, address.port, timeout=2 * PROMPT_SECONDS
    )
    with closing(connection):
        connection.putrequest(method, target, skip_host=True, skip_accept_encoding=True)
        for host in (address.netloc,) if hosts is None else hosts:
            connection.putheader("Host", host)
        connection.endheaders()
        with connection.getresponse() as response:
            return Answer(response)


@contextmanager
def serving(photos: Photos) -> Iterator[Gallery]:
    gallery = Gallery(snapshot=photos.snapshot, fetch=photos.fetch)
    gallery.start()
    try:
        yield gallery
    finally:
        gallery.stop()


@pytest.fixture
def photos() -> Photos:
    return Photos()


@pytest.fixture
def gallery(photos: Photos) -> Iterator[Gallery]:
    with serving(photos) as running:
        yield running


def test_the_url_is_a_loopback_address_with_the_port_taken(gallery: Gallery) -> None:
    address = urlsplit(gallery.url)

    assert (address.scheme, address.hostname, address.path) == ("http", "127.0.0.1", "/")
    assert address.port


@pytest.mark.parametrize(
    ("target", "kind", "part"),
    [
        ("/", "text/html; charset=utf-8", b"<!doctype html>"),
        ("/?from=terminal", "text/html; charset=utf-8", b"<!doctype html>"),
        ("/gallery.css", "text/css; charset=utf-8", b"prefers-color-scheme"),
        ("/gallery.js", "text/javascript; charset=utf-8", b"/photos.json"),
    ],
)
def test_the_page_and_its_parts_are_served(
    gallery: Gallery, target: str, kind: str, part: bytes
) -> None:
    answer = ask(gallery, target)

    assert (answer.status, answer.headers["Content-Type"]) == (200, kind)
    assert part in answer.body


def test_the_page_needs_no_other_origin_and_no_inline_script(gallery: Gallery) -> None:
    page = ask(gallery, "/").body + ask(gallery, "/gallery.css").body
    script = ask(gallery, "/gallery.js").body

    for text in (page, script):
        assert b"https:" not in text
        assert text.count(b"http:") == text.count(b"http://www.w3.org/2000/svg")
    for sink in (b"innerHTML", b"outerHTML", b"insertAdjacentHTML", b"document.write", b"eval("):
        assert sink not in script
    assert b"<style" not in page
    assert b" style=" not in page
    assert page.count(b"<script") == page.count(
        b'<script type="module" src="/gallery.js"></script>'
    )


def test_the_snapshot_is_json_that_nobody_keeps(gallery: Gallery, photos: Photos) -> None:
    answer = ask(gallery, "/photos.json")

    assert answer.headers["Content-Type"] == "application/json"
    assert answer.headers["Cache-Control"] == "no-store"
    told = json.loads(answer.body)
    cursor, whole = told.pop("cursor"), told.pop("whole")
    assert (told, whole) == (photos.state, True)
    assert cursor

    photos.state = {**photos.state, "done": True, "photos": []}
    assert json.loads(ask(gallery, "/photos.json").body)["done"] is True


def since(gallery: Gallery, cursor: str) -> tuple[list[str], bool, str]:
    """What is new after a cursor: photo ids, whether that is all, and the next cursor."""
    told = json.loads(ask(gallery, f"/photos.json?since={quote(cursor)}").body)
    return [photo["photo_id"] for photo in told["photos"]], told["whole"], told["cursor"]


def test_a_cursor_gives_what_changed_after_it(gallery: Gallery, photos: Photos) -> None:
    everything, whole, first = since(gallery, "")
    assert (everything, whole) == (["a/b", HOSTILE, "c"], True)
    assert since(gallery, first) == ([], False, first)

    before = photos.state["photos"]
    photos.state = {**photos.state, "photos": [*before[:2], photo("c", UNNAMED), photo("d")]}
    changed, whole, second = since(gallery, first)
    assert (changed, whole) == (["c", "d"], False)
    assert since(gallery, second) == ([], False, second)
    # Another page that is behind.
    assert since(gallery, first) == (["c", "d"], False, second)


@pytest.mark.parametrize("cursor", ["", "7", "deadbeef-1", "-", "\u0661", "x" * 5000])
def test_a_cursor_of_another_session_gives_everything(gallery: Gallery, cursor: str) -> None:
    since(gallery, "")
    assert since(gallery, cursor)[:2] == (["a/b", HOSTILE, "c"], True)


@pytest.mark.parametrize("number", ["2", "9" * 5000, "-1", "1_0", "\u0661"])
def test_a_cursor_that_this_session_never_gave_gives_everything(
    gallery: Gallery, number: str
) -> None:
    session, _, last = since(gallery, "")[2].partition("-")
    assert last == "1"
    assert since(gallery, f"{session}-{number}")[:2] == (["a/b", HOSTILE, "c"], True)


def test_a_photo_that_left_the_snapshot_makes_it_whole_again(
    gallery: Gallery, photos: Photos
) -> None:
    _, _, cursor = since(gallery, "")
    photos.state = {**photos.state, "photos": photos.state["photos"][1:]}
    assert since(gallery, cursor)[:2] == ([HOSTILE, "c"], True)


def test_a_rendition_is_served_for_ever(gallery: Gallery) -> None:
    answer = ask(gallery, f"/objects/{RENDITION}")

    assert (answer.status, answer.body) == (200, b"RIFF-small")
    assert answer.headers["Content-Type"] == "image/webp"
    assert answer.headers["Cache-Control"] == "public, max-age=31536000, immutable"
    assert answer.headers["Content-Length"] == str(len(answer.body))


def test_an_object_name_may_hold_anything_when_it_is_quoted(gallery: Gallery) -> None:
    answer = ask(gallery, f"/objects/{quote(ODD_RENDITION)}")

    assert (answer.status, answer.body) == (200, b"RIFF-odd")
    assert ask(gallery, f"/objects/{quote(RENDITION, safe='')}").body == b"RIFF-small"


def test_head_gives_the_headers_alone(gallery: Gallery) -> None:
    answer = ask(gallery, f"/objects/{RENDITION}", method="HEAD")

    assert (answer.status, answer.headers["Content-Length"], answer.body) == (200, "10", b"")


def test_a_rendition_that_is_gone_is_not_found(gallery: Gallery, photos: Photos) -> None:
    answer = ask(gallery, f"/objects/{LOST}")

    assert (answer.status, answer.headers["Cache-Control"]) == (404, "no-store")
    assert photos.fetched == [LOST]


@pytest.mark.parametrize(
    "target",
    [
        f"/objects/{UNNAMED}",
        "/objects/photos/a/b/manifest.json",
        "/objects/",
        "/objects/photos/a/b/../b/17-3fd0c1a2b4e5/320.webp",
        "/objects/../objects/" + RENDITION,
        "/objects/%2e%2e/%2e%2e/etc/passwd",
        "/objects/../../../../etc/passwd",
        "/objects//" + RENDITION,
        "/objects/" + RENDITION + "%00",
        "/objects/" + RENDITION + "/",
        "/objects/%ff%fe.webp",
        "/objects/" + RENDITION.upper(),
        "/objects/" + quote(quote(RENDITION, safe=""), safe=""),
    ],
)
def test_only_what_a_manifest_names_is_fetched(
    gallery: Gallery, photos: Photos, target: str
) -> None:
    answer = ask(gallery, target)

    assert (answer.status, answer.body) == (404, b"no such rendition\n")
    assert photos.fetched == []


def test_what_was_deregistered_is_no_longer_fetched(gallery: Gallery, photos: Photos) -> None:
    assert ask(gallery, f"/objects/{RENDITION}").status == 200
    photos.state = {**photos.state, "photos": photos.state["photos"][1:]}
    photos.fetched.clear()

    assert ask(gallery, f"/objects/{RENDITION}").status == 404
    assert photos.fetched == []


@pytest.mark.parametrize(
    "target",
    [
        "/favicon.ico",
        "/gallery.py",
        "/gallery.html",
        "/../worker/gallery.py",
        "/%2e%2e/pyproject.toml",
        "/objects",
        "/photos.json/",
        "//",
        "http://127.0.0.1/",
        "*",
    ],
)
def test_everything_else_is_not_found(gallery: Gallery, target: str) -> None:
    if target == "//":
        # The standard library folds leading slashes, so that no redirect can leave the origin.
        assert ask(gallery, target).status == 200
        return
    answer = ask(gallery, target)

    assert (answer.status, answer.body) == (404, b"no such page\n")
    assert answer.headers["Content-Type"] == "text/plain; charset=utf-8"


@pytest.mark.parametrize("name", ["127.0.0.1", "localhost", "LocalHost", "localhost:9"])
def test_local_names_are_answered_whatever_the_port(gallery: Gallery, name: str) -> None:
    assert ask(gallery, "/photos.json", hosts=(name,)).status == 200


@pytest.mark.parametrize(
    "hosts",
    [
        ("photos.example",),
        ("127.0.0.1.photos.example",),
        ("localhost.",),
        ("localhost:80:80",),
        ("localhost:port",),
        ("localhost@photos.example",),
        ("",),
        (),
        ("localhost", "photos.example"),
    ],
)
@pytest.mark.parametrize("target", ["/", "/photos.json", f"/objects/{RENDITION}"])
def test_a_foreign_name_for_this_machine_is_refused(
    gallery: Gallery, photos: Photos, target: str, hosts: tuple[str, ...]
) -> None:
    answer = ask(gallery, target, hosts=hosts)

    assert (answer.status, answer.body) == (403, b"this page is served to localhost only\n")
    assert photos.fetched == []


@pytest.mark.parametrize(
    ("method", "target", "status"),
    [
        ("GET", "/", 200),
        ("GET", "/photos.json", 200),
        ("GET", f"/objects/{RENDITION}", 200),
        ("GET", "/nothing", 404),
        ("POST", "/photos.json", 501),
        ("<b>", "/", 501),
    ],
)
def test_every_answer_carries_the_strict_headers(
    gallery: Gallery, method: str, target: str, status: int
) -> None:
    answer = ask(gallery, target, method=method)

    assert answer.status == status
    policy = answer.headers["Content-Security-Policy"].split("; ")
    assert {"default-src 'none'", "script-src 'self'", "img-src 'self' data:"} <= set(policy)
    assert not any("unsafe" in rule or "*" in rule for rule in policy)
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert answer.headers["Referrer-Policy"] == "no-referrer"
    assert answer.headers["Cross-Origin-Resource-Policy"] == "same-origin"
    assert answer.headers["Server"] == "photo-worker"
    if status >= 400:
        assert answer.headers["Content-Type"] == "text/plain; charset=utf-8"


def test_a_failing_snapshot_costs_one_answer_only(
    gallery: Gallery, photos: Photos, caplog: pytest.LogCaptureFixture
) -> None:
    good = photos.state
    photos.state = {**good, "photos": None}

    answer = ask(gallery, f"/objects/{RENDITION}")

    assert (answer.status, answer.body) == (500, b"failed; the log says why\n")
    assert "TypeError" in caplog.text
    photos.state = good
    assert ask(gallery, f"/objects/{RENDITION}").status == 200


def test_stop_closes_the_address_and_may_be_called_again(photos: Photos) -> None:
    with serving(photos) as gallery:
        address = urlsplit(gallery.url)
        gallery.stop()
        gallery.stop()

        with pytest.raises(ConnectionRefusedError):
            socket.create_connection((address.hostname, address.port), timeout=PROMPT_SECONDS)
        with pytest.raises(RuntimeError, match="does not start again"):
            gallery.start()


def test_stop_without_start_returns_and_gives_the_port_back(photos: Photos) -> None:
    first = Gallery(snapshot=photos.snapshot, fetch=photos.fetch)
    port = urlsplit(first.url).port
    assert port is not None
    with pytest.raises(OSError, match="in use"):
        Gallery(snapshot=photos.snapshot, fetch=photos.fetch, port=port)
    first.stop()

    Gallery(snapshot=photos.snapshot, fetch=photos.fetch, port=port).stop()


def test_start_twice_serves_once(gallery: Gallery) -> None:
    gallery.start()

    assert ask(gallery, "/").status == 200


def test_stop_waits_neither_for_a_silent_browser_nor_for_a_hanging_fetch(photos: Photos) -> None:
    fetching, release = threading.Event(), threading.Event()

    def hang(_name: str) -> bytes | None:
        fetching.set()
        release.wait()
        return None

    gallery = Gallery(snapshot=photos.snapshot, fetch=hang)
    gallery.start()
    address = urlsplit(gallery.url)
    assert address.hostname is not None
    peer = (address.hostname, address.port)
    stopping = threading.Thread(target=gallery.stop)
    try:
        with (
            closing(socket.create_connection(peer, timeout=PROMPT_SECONDS)) as silent,
            closing(socket.create_connection(peer, timeout=PROMPT_SECONDS)) as waiting,
        ):
            # The first connection was accepted before the second, whose request has come in.
            waiting.sendall(
                f"GET /objects/{RENDITION} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode()
            )
            assert fetching.wait(PROMPT_SECONDS)

            stopping.start()
            stopping.join(PROMPT_SECONDS)

            assert not stopping.is_alive()
            assert silent.recv(1) == b""
            assert waiting.recv(1) == b""
    finally:
        release.set()
        if stopping.ident is not None:
            stopping.join()
        gallery.stop()
