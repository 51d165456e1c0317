"""The storage edge against a server that misbehaves as told: what is retried, what it becomes."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import replace
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import pytest

from tests.support.fakes import crc32c
from tests.support.http_server import Handler, HttpServer
from worker.errors import (
    BucketUnavailable,
    PreconditionFailed,
    StorageForbidden,
    StorageUnavailable,
)
from worker.gcs.patience import Patience
from worker.gcs.store import GcsStore
from worker.photo.ports import StoredObject

DATA = b"the original's bytes" * 500
CHECKSUM = crc32c(DATA)
STORED = StoredObject(
    bucket="b",
    name="o",
    generation=7,
    size_bytes=len(DATA),
    crc32c=CHECKSUM,
    created=datetime(2026, 11, 22, 12, tzinfo=UTC),
)
RESOURCE = json.dumps(
    {
        "name": "o",
        "bucket": "b",
        "generation": "7",
        "size": str(len(DATA)),
        "crc32c": CHECKSUM,
        "timeCreated": "2026-11-22T12:00:00.000Z",
    }
).encode()
QUICK = Patience(connect_seconds=1.0, answer_seconds=0.3, backoff_seconds=0.01)

Answer = Callable[[BaseHTTPRequestHandler], None]


def status(code: int, body: bytes = b"{}") -> Answer:
    def answer(request: BaseHTTPRequestHandler) -> None:
        request.send_response(code)
        request.send_header("Content-Type", "application/json")
        request.send_header("Content-Length", str(len(body)))
        request.end_headers()
        request.wfile.write(body)

    return answer


def media(body: bytes, *, stated_bytes: int = len(DATA)) -> Answer:
    """The original; with fewer bytes than stated, the connection is cut behind them."""

    def answer(request: BaseHTTPRequestHandler) -> None:
        request.send_response(200)
        request.send_header("Content-Length", str(stated_bytes))
        request.send_header("X-Goog-Hash", f"crc32c={CHECKSUM}")
        request.send_header("X-Goog-Generation", "7")
        request.end_headers()
        request.wfile.write(body)
        request.close_connection = True

    return answer


def hang_up(request: BaseHTTPRequestHandler) -> None:
    request.close_connection = True


def cut_head(request: BaseHTTPRequestHandler) -> None:
    """Only `200 OK` and a header that does not matter."""
    request.send_response(200)
    request.flush_headers()
    request.close_connection = True


def ended_by_its_connection(*, version: str, connection: str) -> Answer:
    """The resource, without a word on how long it is."""

    def answer(request: BaseHTTPRequestHandler) -> None:
        head = f"{version} 200 OK\r\nContent-Type: application/json\r\n{connection}\r\n"
        request.wfile.write(head.encode() + RESOURCE)
        request.close_connection = True

    return answer


class Server(HttpServer):
    """Gives its answers in turn, the last one for ever; counts requests."""

    def __init__(self) -> None:
        self.answers: list[Answer] = []
        self.asked = 0
        self.released = threading.Event()
        outer = self

        class Answers(Handler):
            protocol_version = "HTTP/1.1"

            def _answer(self) -> None:
                self.rfile.read(int(self.headers.get("Content-Length", 0)))
                turn = min(outer.asked, len(outer.answers) - 1)
                outer.asked += 1
                outer.answers[turn](self)

            do_GET = do_POST = do_DELETE = _answer  # noqa: N815

        super().__init__(Answers)
        self.url = f"http://{self.address}"

    def stall(self, request: BaseHTTPRequestHandler) -> None:
        """Send half, and then wait until the test is over."""
        media(DATA[: len(DATA) // 2])(request)
        request.wfile.flush()
        self.released.wait(30)

    def __exit__(self, *_: object) -> None:
        self.released.set()
        super().__exit__()


@pytest.fixture
def server() -> Iterator[Server]:
    with Server() as server:
        yield server


OpenStore = Callable[[Patience], GcsStore]


@pytest.fixture
def open_store(server: Server) -> Iterator[OpenStore]:
    with ExitStack() as stack:

        def open_it(patience: Patience) -> GcsStore:
            store = GcsStore(project="p", emulator_url=server.url, connections=2, patience=patience)
            stack.callback(store.close)
            return store

        yield open_it


@pytest.fixture
def store(open_store: OpenStore) -> GcsStore:
    return open_store(QUICK)


def take(store: GcsStore, into: Path) -> StoredObject | None:
    return store.fetch("b", "o", "7", into, lambda _: None)


def took(store: GcsStore, into: Path) -> bytes:
    assert take(store, into) is not None
    return into.read_bytes()


def write(store: GcsStore) -> StoredObject:
    return store.write(
        "b", "o", DATA, content_type="image/webp", cache_control="private", if_generation=0
    )


@pytest.mark.parametrize("code", [408, 429, 500, 502, 503, 504])
def test_a_passing_fault_is_retried_in_place(server: Server, store: GcsStore, code: int) -> None:
    server.answers = [status(code), status(code), status(200, RESOURCE)]
    assert store.stat("b", "o") == STORED
    assert server.asked == 3


def test_a_connection_that_is_hung_up_is_retried(server: Server, store: GcsStore) -> None:
    server.answers = [hang_up, status(200, RESOURCE)]
    assert store.stat("b", "o") == STORED


def test_a_download_that_is_cut_is_retried_from_its_start(
    server: Server, store: GcsStore, tmp_path: Path
) -> None:
    server.answers = [media(DATA[:4000]), media(DATA)]
    take(store, tmp_path / "o")
    assert (tmp_path / "o").read_bytes() == DATA
    assert server.asked == 2


def test_an_answer_whose_head_is_cut_says_nothing(
    server: Server, store: GcsStore, tmp_path: Path
) -> None:
    """To http.client it is a whole one without a body: an empty listing, an empty manifest."""
    listing = json.dumps({"items": [json.loads(RESOURCE)]}).encode()
    calls: list[tuple[Answer, Callable[[], object], object]] = [
        (status(200, RESOURCE), lambda: store.stat("b", "o"), STORED),
        (status(200, RESOURCE), lambda: write(store), STORED),
        (status(200, listing), lambda: list(store.objects("b", "o")), [STORED]),
        (status(200, listing), lambda: store.check_bucket("b"), None),
        (media(DATA), lambda: store.read("b", "o"), (DATA, 7)),
        (media(DATA), lambda: took(store, tmp_path / "o"), DATA),
        (status(404), lambda: store.delete("b", "o"), False),
    ]
    for whole, call, expected in calls:
        server.answers = [*server.answers[: server.asked], cut_head, whole]
        before = server.asked
        assert call() == expected
        assert server.asked == before + 2


@pytest.mark.parametrize(
    ("version", "connection"), [("HTTP/1.0", ""), ("HTTP/1.1", "Connection: close\r\n")]
)
def test_an_answer_may_end_with_its_connection_where_http_allows_it(
    server: Server, store: GcsStore, version: str, connection: str
) -> None:
    server.answers = [ended_by_its_connection(version=version, connection=connection)]
    assert store.stat("b", "o") == STORED
    assert server.asked == 1


def test_a_204_needs_no_length(server: Server, store: GcsStore) -> None:
    def answer(request: BaseHTTPRequestHandler) -> None:
        request.send_response(204)
        request.end_headers()

    server.answers = [answer]
    assert store.delete("b", "o") is True
    assert server.asked == 1


def test_a_download_that_stalls_is_retried(server: Server, store: GcsStore, tmp_path: Path) -> None:
    server.answers = [server.stall, media(DATA)]
    take(store, tmp_path / "o")
    assert (tmp_path / "o").read_bytes() == DATA


def test_a_download_with_a_wrong_checksum_is_transient_and_not_corrupt(
    server: Server, open_store: OpenStore, tmp_path: Path
) -> None:
    store = open_store(replace(QUICK, attempts=2))
    server.answers = [media(bytes(len(DATA)))]
    with pytest.raises(StorageUnavailable, match="Damaged"):
        take(store, tmp_path / "o")
    assert server.asked == 2


def test_a_download_that_trickles_for_ever_ends(
    server: Server, open_store: OpenStore, tmp_path: Path
) -> None:
    store = open_store(replace(QUICK, download_seconds=-1.0))
    server.answers = [media(DATA)]
    with pytest.raises(StorageUnavailable, match="took longer"):
        take(store, tmp_path / "o")


def test_what_does_not_pass_is_given_up_after_its_attempts(
    server: Server, open_store: OpenStore
) -> None:
    store = open_store(replace(QUICK, attempts=3))
    server.answers = [status(503)]
    with pytest.raises(StorageUnavailable, match="503"):
        store.read("b", "o")
    assert server.asked == 3


def test_no_attempt_begins_after_the_budget(server: Server, open_store: OpenStore) -> None:
    store = open_store(replace(QUICK, retry_seconds=0.0))
    server.answers = [status(503)]
    with pytest.raises(StorageUnavailable):
        store.read("b", "o")
    assert server.asked == 1


@pytest.mark.parametrize(("code", "error"), [(403, StorageForbidden), (400, StorageUnavailable)])
def test_what_an_operator_must_mend_is_not_retried(
    server: Server, store: GcsStore, code: int, error: type[Exception]
) -> None:
    server.answers = [status(code)]
    with pytest.raises(error):
        store.stat("b", "o")
    assert server.asked == 1


def test_a_manifest_that_trickles_for_ever_ends(server: Server, open_store: OpenStore) -> None:
    store = open_store(replace(QUICK, read_seconds=-1.0))
    server.answers = [media(DATA)]
    with pytest.raises(StorageUnavailable, match="took longer"):
        store.read("b", "o")


def test_an_upload_has_time_by_its_size() -> None:
    connect, answer = Patience().upload_timeout(9 << 20)
    assert connect > 9
    assert (Patience().connect_seconds, answer) == Patience().timeout


def test_retries_end_within_a_drain() -> None:
    longest = Patience().retry_seconds + sum(Patience().timeout)
    assert longest < 20
    assert Patience.within(8.0).retry_seconds == 4.0
    assert Patience.within(1000.0) == Patience()


def test_404_means_nothing_there_or_no_bucket(
    server: Server, store: GcsStore, tmp_path: Path
) -> None:
    server.answers = [status(404)]
    assert store.stat("b", "o") is None
    assert store.read("b", "o") is None
    assert store.delete("b", "o") is False
    assert take(store, tmp_path / "o") is None
    for call in (
        lambda: write(store),
        lambda: list(store.objects("b", "")),
        lambda: store.check_bucket("b"),
    ):
        with pytest.raises(BucketUnavailable, match="'b' does not exist"):
            call()


def test_412_is_the_callers_to_judge(server: Server, store: GcsStore) -> None:
    server.answers = [status(412)]
    with pytest.raises(PreconditionFailed):
        write(store)
    assert server.asked == 1


def test_a_lost_response_of_a_write_ends_in_412(server: Server, store: GcsStore) -> None:
    server.answers = [hang_up, status(412)]
    with pytest.raises(PreconditionFailed):
        write(store)
    assert server.asked == 2
