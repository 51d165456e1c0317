"""Stop: real signals to this process, whose handlers run in the main thread."""

from __future__ import annotations

import os
import signal
import threading

import pytest

from worker.console.stop import Stop


def test_the_first_signal_asks_and_the_second_interrupts() -> None:
    with Stop() as stop:
        assert (stop.asked, stop.exit_code) == (False, None)
        os.kill(os.getpid(), signal.SIGTERM)
        assert (stop.asked, stop.exit_code) == (True, 143)
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)
        assert stop.exit_code == 143


def test_handlers_are_given_back() -> None:
    before = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGHUP)
    with Stop(signal.SIGINT, signal.SIGHUP) as stop:
        os.kill(os.getpid(), signal.SIGHUP)
        assert stop.exit_code == 129
    assert (signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGHUP)) == before


def test_all_who_wait_are_woken() -> None:
    stop = Stop()
    woken: list[bool] = []
    threads = [threading.Thread(target=lambda: woken.append(stop.wait(60))) for _ in range(3)]
    for thread in threads:
        thread.start()
    stop.ask()
    for thread in threads:
        thread.join()
    assert woken == [True] * 3
    assert stop.wait(60)


def test_a_wait_has_an_end() -> None:
    assert not Stop().wait(0.001)


def test_a_signal_ends_a_wait_of_the_main_thread() -> None:
    """An Event would deadlock here: its lock is held by the thread that the handler interrupts."""
    with Stop() as stop:
        killer = threading.Timer(0.05, os.kill, (os.getpid(), signal.SIGTERM))
        killer.start()
        assert stop.wait(60)
        killer.join()
