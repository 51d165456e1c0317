"""The watch on the metadata server, against a real HTTP server."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal

import pytest

from tests.support import metadata_server as faults
from tests.support.fakes import recording_log
from tests.support.metadata_server import MetadataServer
from tests.support.waiting import eventually
from worker.service.preemption import WARN_AFTER, WARN_AGAIN_SECONDS, PreemptionWatch, open_watch

UNIT = 0.01


class Watched:
    """A watch, the notices that it gave, and its log."""

    def __init__(self, address: str, *, insist: bool = True) -> None:
        self.notices: list[str] = []
        self.now = 0.0
        self.log, self.entries = recording_log()
        self.watch = PreemptionWatch(
            address,
            lambda: self.notices.append(threading.current_thread().name),
            self.log,
            insist=insist,
            unit_seconds=UNIT,
            clock=lambda: self.now,
        )

    def warnings(self) -> list[dict[str, object]]:
        return [entry for entry in self.entries if entry["level"] == "warning"]


@contextmanager
def watching(address: str, *, insist: bool = True) -> Iterator[Watched]:
    watched = Watched(address, insist=insist)
    watched.watch.start()
    try:
        yield watched
    finally:
        watched.watch.stop()
        assert watched.watch.join(10), "the thread ends soon after stop"


@pytest.fixture
def server() -> Iterator[MetadataServer]:
    with MetadataServer() as server:
        yield server


def test_the_notice_comes_through_the_hanging_get(server: MetadataServer) -> None:
    with watching(server.host) as watched:
        eventually(lambda: server.hanging, "it hangs")
        assert watched.notices == []
        server.preempt()
        eventually(lambda: watched.notices, "the notice")
        assert watched.watch.join(10), "there is nothing more to watch for"
    assert watched.notices == ["preemption"]
    first, second = server.requests
    assert first == {}
    assert (second["wait_for_change"], second["last_etag"]) == ("true", f"{1:016x}")
    assert watched.warnings() == []


def test_a_vm_that_is_preempted_already_is_told_at_once() -> None:
    with MetadataServer(preempted=True) as server, watching(server.host) as watched:
        eventually(lambda: watched.notices, "the notice")
        assert len(server.requests) == 1


def test_a_change_that_is_none_is_waited_on(server: MetadataServer) -> None:
    with watching(server.host) as watched:
        for round_ in range(3):
            eventually(lambda: server.hanging, "it hangs")
            server.touch()
            eventually(lambda: len(server.requests) > 2 + round_, "it asks again")  # noqa: B023
        assert watched.notices == []
        server.preempt()
        eventually(lambda: watched.notices, "the notice")


@pytest.mark.parametrize(
    "fault",
    [
        faults.unavailable,
        faults.not_google,
        faults.nonsense,
        faults.redirect,
        faults.cut,
        faults.cut_in_mid_answer,
    ],
    ids=lambda fault: fault.__name__,
)
@pytest.mark.parametrize("known", [False, True], ids=["at-first", "later"])
def test_no_fault_is_a_notice_and_none_ends_the_watch(
    server: MetadataServer, fault: faults.Fault, *, known: bool
) -> None:
    count = WARN_AFTER + 1
    if not known:
        server.faults.extend([fault] * count)
    with watching(server.host) as watched:
        if known:
            eventually(lambda: server.hanging, "it hangs")
            server.faults.extend([fault] * count)
            server.touch()
        eventually(lambda: not server.faults, "it has met all of them")
        eventually(lambda: server.hanging, "it hangs again")
        assert watched.notices == []
        assert len(watched.warnings()) == 1
        assert watched.warnings()[0]["metadata_server"] == server.host
        server.preempt()
        eventually(lambda: watched.notices, "the notice")


def test_a_single_fault_is_no_news(server: MetadataServer) -> None:
    server.faults.append(faults.unavailable)
    with watching(server.host) as watched:
        eventually(lambda: server.hanging, "it hangs")
        assert watched.warnings() == []


def test_after_a_fault_the_value_is_asked_for_not_its_next_change(server: MetadataServer) -> None:
    """A change that came meanwhile would be waited for in vain."""
    with watching(server.host) as watched:
        eventually(lambda: server.hanging, "it hangs")
        server.faults.append(faults.cut)
        server.touch()
        eventually(lambda: server.hanging and not server.faults, "it hangs again")
        assert [query.get("wait_for_change") for query in server.requests] == [
            None,
            "true",
            "true",
            None,
            "true",
        ]
        assert watched.notices == []


def test_a_server_that_does_not_hang_is_not_asked_in_a_tight_loop(server: MetadataServer) -> None:
    """Each early answer is followed by a pause; without it thousands a second would be asked."""
    server.faults.extend([faults.false_at_once] * 6)
    with watching(server.host) as watched:
        pauses: list[float] = []
        wait = watched.watch._stopped.wait

        def recorded(timeout: float | None = None) -> bool:
            pauses.append(timeout or 0.0)
            return wait(timeout)

        watched.watch._stopped.wait = recorded  # type: ignore[method-assign]
        eventually(lambda: not server.faults, "it has met all of them")
        eventually(lambda: server.hanging, "it hangs")
        assert pauses[-3:] == [UNIT] * 3


def test_the_warning_repeats_rarely_and_its_end_is_told() -> None:
    watched = Watched("nobody")
    watched.watch._succeeded()
    for _ in range(20):
        watched.watch._failed(OSError("refused"))
    assert len(watched.warnings()) == 1
    watched.now += WARN_AGAIN_SECONDS
    watched.watch._failed(OSError("refused"))
    assert len(watched.warnings()) == 2
    watched.watch._succeeded()
    assert watched.entries[-1]["event"] == "preemption notices are watched for again"


def test_pauses_grow_to_a_bound() -> None:
    for insist, longest in ((True, 30.0), (False, 300.0)):
        log, _ = recording_log()
        watch = PreemptionWatch("x", lambda: None, log, insist=insist)
        pauses = [watch._failed(OSError("refused")) for _ in range(5000)]
        assert pauses[:4] == [1, 2, 4, 8]
        assert max(pauses) == pauses[-1] == longest


def test_without_insisting_an_absent_server_is_no_news() -> None:
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        with watching(f"127.0.0.1:{nobody.getsockname()[1]}", insist=False) as watched:
            eventually(lambda: len(watched.entries) > WARN_AFTER + 1, "it has tried")
            assert {entry["level"] for entry in watched.entries} == {"debug"}


def test_a_silent_server_holds_up_neither_stop_nor_the_process() -> None:
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        with watching(f"127.0.0.1:{silent.getsockname()[1]}") as watched:
            connection, _ = silent.accept()
            with connection:
                assert watched.watch._thread.daemon
                watched.watch.stop()
                assert watched.watch.join(2)


def test_an_impossible_address_is_a_warning_at_most() -> None:
    with watching("nowhere:port:9") as watched:
        eventually(watched.warnings, "it is told")


@pytest.mark.parametrize(
    ("mode", "environment", "emulated", "asked"),
    [
        ("auto", {}, False, "169.254.169.254"),
        ("auto", {}, True, None),
        ("auto", {"GCE_METADATA_HOST": "here:81"}, True, "here:81"),
        ("auto", {"GCE_METADATA_ROOT": "here:81"}, True, "here:81"),
        ("auto", {"GCE_METADATA_HOST": ""}, True, None),
        ("auto", {"NO_GCE_CHECK": "true"}, False, None),
        ("auto", {"GCE_METADATA_IP": "10.0.0.1"}, False, "10.0.0.1"),
        ("on", {}, True, "169.254.169.254"),
        ("on", {"NO_GCE_CHECK": "true"}, False, "169.254.169.254"),
        ("off", {"GCE_METADATA_HOST": "here:81"}, False, None),
    ],
)
def test_who_is_asked(
    mode: Literal["auto", "on", "off"],
    environment: dict[str, str],
    emulated: bool,  # noqa: FBT001
    asked: str | None,
) -> None:
    log, _ = recording_log()
    watch = open_watch(mode, environment, emulated=emulated, on_notice=lambda: None, log=log)
    assert (watch._address if watch else None) == asked
