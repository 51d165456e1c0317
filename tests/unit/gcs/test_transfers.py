"""Bytes over the wire: connections that last, limits before bytes, files sent in pieces."""

from __future__ import annotations

import json
import tracemalloc
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest

from tests.support.fakes import crc32c
from tests.support.http_server import Handler, HttpServer
from worker.errors import OriginalTooLarge, StorageUnavailable
from worker.gcs.patience import Patience
from worker.gcs.store import GcsStore
from worker.gcs.transfers import Damaged, Outgoing

DATA = bytes(range(256)) * 4096
"""A megabyte: several pieces."""


class Bucket(HttpServer):
    """A server with one object, `o`, and the headers `heads`; `connections` are those it took."""

    def __init__(self) -> None:
        self.connections: set[object] = set()
        self.heads = {
            "X-Goog-Generation": "7",
            "X-Goog-Hash": f"crc32c={crc32c(DATA)},md5=AAAA",
            "X-Goog-Stored-Content-Length": str(len(DATA)),
        }
        self.asked: list[tuple[str, dict[str, list[str]]]] = []
        self.received = b""
        self.stored, self.status = _resource(len(DATA)), 200
        bucket = self

        class Objects(Handler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:  # noqa: N802
                self._note()
                if "/o/o?" not in self.path:
                    self._answer(404, {}, b"{}")
                elif self.path.startswith("/download/"):
                    self._answer(200, bucket.heads, DATA)
                else:
                    self._answer(200, {}, _resource(len(DATA)))

            def do_POST(self) -> None:  # noqa: N802
                self._note()
                assert "Transfer-Encoding" not in self.headers
                bucket.received = self.rfile.read(int(self.headers["Content-Length"]))
                self._answer(bucket.status, {"Location": "/elsewhere"}, bucket.stored)

            def _note(self) -> None:
                bucket.connections.add(self.client_address)
                url = urlsplit(self.path)
                bucket.asked.append((url.path, parse_qs(url.query)))

            def _answer(self, code: int, headers: dict[str, str], body: bytes) -> None:
                if "Transfer-Encoding" not in headers:
                    self.reply(code, body, **headers)
                    return
                self.send_response(code)
                for name, value in headers.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(b"%x\r\n%s\r\n0\r\n\r\n" % (len(body), body))

        super().__init__(Objects)
        self.url = f"http://{self.address}"


def _resource(size_bytes: int) -> bytes:
    return json.dumps(
        {"name": "o", "generation": "7", "size": str(size_bytes), "crc32c": crc32c(DATA)}
    ).encode()


@pytest.fixture
def bucket() -> Iterator[Bucket]:
    with Bucket() as bucket:
        yield bucket


@pytest.fixture
def store(bucket: Bucket) -> Iterator[GcsStore]:
    store = GcsStore(
        project="p", emulator_url=bucket.url, connections=2, patience=Patience(attempts=1)
    )
    yield store
    store.close()


def accept(_size_bytes: int) -> None:
    pass


def test_one_connection_serves_every_request_answered_with_a_404_or_not(
    bucket: Bucket, store: GcsStore, tmp_path: Path
) -> None:
    """Otherwise each new photo, whose manifest is missing, would cost a TLS handshake."""
    for _ in range(3):
        assert store.read("b", "nothing") is None
        assert store.fetch("b", "nothing", None, tmp_path / "o", accept) is None
        assert store.read("b", "o") == (DATA, 7)
        assert store.fetch("b", "o", None, tmp_path / "o", accept) is not None
    assert len(bucket.connections) == 1


def test_a_refused_size_ends_a_download_before_its_first_byte(
    bucket: Bucket, store: GcsStore, tmp_path: Path
) -> None:
    def refuse(size_bytes: int) -> None:
        assert size_bytes == len(DATA)
        raise OriginalTooLarge("as it says")

    with pytest.raises(OriginalTooLarge):
        store.fetch("b", "o", None, tmp_path / "o", refuse)
    assert not (tmp_path / "o").exists()
    assert len(bucket.asked) == 1


def test_a_size_that_is_not_stated_is_asked_for(
    bucket: Bucket, store: GcsStore, tmp_path: Path
) -> None:
    del bucket.heads["X-Goog-Stored-Content-Length"]
    bucket.heads["Transfer-Encoding"] = "chunked"
    sizes: list[int] = []
    fetched = store.fetch("b", "o", None, tmp_path / "o", sizes.append)
    assert fetched is not None
    assert (fetched.generation, fetched.size_bytes, fetched.crc32c) == (7, len(DATA), crc32c(DATA))
    assert sizes == [len(DATA)]
    assert (tmp_path / "o").read_bytes() == DATA
    # Of the very generation whose bytes wait.
    assert bucket.asked[1][0] == "/storage/v1/b/b/o/o"
    assert bucket.asked[1][1]["generation"] == ["7"]


def test_a_pinned_generation_is_asked_for(bucket: Bucket, store: GcsStore, tmp_path: Path) -> None:
    store.fetch("b", "o", "7", tmp_path / "o", accept)
    assert bucket.asked == [
        ("/download/storage/v1/b/b/o/o", {"alt": ["media"], "generation": ["7"]})
    ]


def test_a_file_is_uploaded_in_one_request_and_with_its_length(
    bucket: Bucket, store: GcsStore, tmp_path: Path
) -> None:
    (tmp_path / "full.webp").write_bytes(DATA)
    store.write(
        "b",
        "o",
        tmp_path / "full.webp",
        content_type="image/webp",
        cache_control="private",
        if_generation=0,
        crc32c=crc32c(DATA),
    )
    assert bucket.asked == [
        ("/upload/storage/v1/b/b/o", {"uploadType": ["multipart"], "ifGenerationMatch": ["0"]})
    ]
    head, _, rest = bucket.received.partition(b"\r\n\r\n")
    stated, _, rest = rest.partition(b"\r\n")
    boundary = head.partition(b"\r\n")[0]
    assert json.loads(stated) == {
        "name": "o",
        "contentType": "image/webp",
        "cacheControl": "private",
        "crc32c": crc32c(DATA),
    }
    assert (
        rest == boundary + b"\r\nContent-Type: image/webp\r\n\r\n" + DATA + b"\r\n%s--" % boundary
    )


def test_a_body_is_sent_again_from_its_start_and_is_never_whole_in_memory(tmp_path: Path) -> None:
    """As it is after a 401, behind which the client sends the same body with fresh credentials."""
    file = tmp_path / "full.webp"
    file.write_bytes(DATA * 8)
    body = Outgoing({"name": "o", "contentType": "image/webp"}, file, seconds=60)
    assert b"".join(body) == b"".join(body)
    tracemalloc.start()
    assert sum(len(piece) for piece in body) == len(body)
    peak_bytes = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak_bytes < len(DATA)


def test_a_body_that_is_taken_too_slowly_ends(tmp_path: Path) -> None:
    file = tmp_path / "full.webp"
    file.write_bytes(DATA)
    body = Outgoing({"name": "o", "contentType": "image/webp"}, file, seconds=-1)
    with pytest.raises(TimeoutError, match="took longer"):
        list(body)


@pytest.mark.parametrize("change", [DATA, b""], ids=["grown", "shrunk"])
def test_a_file_that_changes_under_its_upload_never_sends_another_length(
    change: bytes, tmp_path: Path
) -> None:
    """More would be a request of its own on this connection, of whoever made the file grow."""
    path = tmp_path / "o"
    path.write_bytes(DATA)
    body = Outgoing({"name": "o", "contentType": "image/webp"}, path, 10.0)
    path.write_bytes(DATA + change if change else DATA[:-1])
    if change:
        assert sum(map(len, body)) == len(body)
    else:
        with pytest.raises(Damaged, match="shrunk by 1 bytes"):
            list(body)


@pytest.mark.parametrize(
    "answer", [b"{}", b"[]", b"null", b"no JSON", b'{"generation": "x", "size": "1"}']
)
def test_a_nonsense_answer_to_an_upload_is_none(
    answer: bytes, bucket: Bucket, store: GcsStore, tmp_path: Path
) -> None:
    bucket.stored = answer
    path = tmp_path / "o"
    path.write_bytes(DATA)
    with pytest.raises(StorageUnavailable, match="no answer to an upload"):
        store.write("b", "o", path, content_type="image/webp", cache_control="", if_generation=0)


def test_a_redirect_is_not_followed(bucket: Bucket, store: GcsStore) -> None:
    bucket.status = 301
    with pytest.raises(StorageUnavailable):
        store.write("b", "o", b"x", content_type="a/b", cache_control="", if_generation=0)
    assert [path for path, _ in bucket.asked] == ["/upload/storage/v1/b/b/o"]


@pytest.mark.parametrize("stated", ["garbage", "Mon, 99 Foo"])
def test_a_nonsense_moment_is_damage(
    stated: str, bucket: Bucket, store: GcsStore, tmp_path: Path
) -> None:
    bucket.heads["Last-Modified"] = stated
    with pytest.raises(StorageUnavailable, match="no moment"):
        store.fetch("b", "o", None, tmp_path / "o", accept)


def test_a_moment_without_an_offset_is_utc(bucket: Bucket, store: GcsStore, tmp_path: Path) -> None:
    bucket.heads["Last-Modified"] = "Sun, 22 Nov 2026 01:02:03 -0000"
    fetched = store.fetch("b", "o", None, tmp_path / "o", accept)
    assert fetched is not None
    assert fetched.created == datetime(2026, 11, 22, 1, 2, 3, tzinfo=UTC)
