"""What `bench worker` measures in: a broker, a GCS server, and real `photo-worker run` processes.

Each worker has topics, a subscription and, if asked for, a latency of its own, so that several can
stand ready beside each other and take turns; those that have no message wait.
"""

from __future__ import annotations

import json
import os
import secrets
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from worker.errors import Fatal
from worker.gcs.store import GcsStore
from worker.lab.bench.latency import LatencyProxy
from worker.lab.local.child import WorkerChild
from worker.lab.local.resources import ORIGINALS_BUCKET, RENDITIONS_BUCKET, Names, Resources
from worker.lab.local.servers import Server, open_broker, open_storage
from worker.operate.publish import EventPublisher
from worker.pubsub.clients import PubSubPublisher
from worker.system import processes

PROJECT = "photo-worker-bench"

_LOOK_SECONDS = 0.01
_READY_SECONDS = 60.0
_SILENT_SECONDS = 120.0
_DRAIN_SECONDS = 20.0
_MOST_NACKED = 10


@dataclass(slots=True)
class RunningWorker:
    """One `photo-worker run`, and what its log has said so far. Not thread-safe."""

    child: WorkerChild
    events: EventPublisher
    log: Path
    slots: int
    started: float
    ready_seconds: float = 0.0
    recipe: str = ""
    base_bytes: int = 0
    nacked: int = 0
    handled: list[dict[str, Any]] = field(default_factory=list)
    _read: int = 0

    @property
    def pid(self) -> int:
        """Of the worker itself, below its guard."""
        found = processes.children(self.child.guard_pid)
        if not found:
            raise Fatal(f"the worker has ended:\n{self.child.last_lines()}")
        return found[0]

    def look(self) -> Iterator[dict[str, Any]]:
        """What the log says that it had not said before.

        Raises:
            Fatal: the worker has ended, or events fail.
        """
        with self.log.open("rb") as file:
            file.seek(self._read)
            new = file.read()
        whole = new[: new.rfind(b"\n") + 1]
        self._read += len(whole)
        for line in whole.splitlines():
            entry = json.loads(line)
            if entry.get("message") == "handled":
                self._count(entry)
            yield entry
        if (code := self.child.exit_code) is not None:
            raise Fatal(f"the worker ended with exit code {code}:\n{self.child.last_lines()}")

    def _count(self, entry: dict[str, Any]) -> None:
        outcome = entry.get("outcome")
        if outcome == "nacked":
            self.nacked += 1  # it comes again; a few of them only cost time
        elif outcome != "rejected":
            self.handled.append(entry)
        if outcome == "rejected" or self.nacked > _MOST_NACKED:
            raise Fatal(f"events fail, so figures mean nothing: {json.dumps(entry)}")

    def wait(self, seen: Callable[[], bool]) -> None:
        """Read the log until something is so.

        Raises:
            Fatal: the log fell silent before; see `look` as well.
        """
        deadline = time.monotonic() + _SILENT_SECONDS
        while not seen():
            time.sleep(_LOOK_SECONDS)
            if list(self.look()):
                deadline = time.monotonic() + _SILENT_SECONDS
            elif time.monotonic() > deadline:
                raise Fatal(f"nothing happened for {_SILENT_SECONDS} s:\n{self.child.last_lines()}")

    def wait_until_handled(self, count: int) -> None:
        """Until so many events in all have been handled; raises as `wait` does."""
        self.wait(lambda: len(self.handled) >= count)


class Rig:
    """Broker and GCS server; opens workers on them."""

    def __init__(self, stack: ExitStack, broker: str, environment: Mapping[str, str]) -> None:
        """Find or start the two servers; `stack` stops what was started.

        Raises:
            Fatal, UsageFault: see `open_broker` and `open_storage`.
        """
        self._environment = environment
        self.storage: Server = open_storage(environment)
        stack.callback(self.storage.stop)
        self.broker: Server = open_broker(broker, environment)
        stack.callback(self.broker.stop)
        self.store = GcsStore(project=PROJECT, emulator_url=self.storage.address, connections=8)
        stack.callback(self.store.close)
        for bucket in (ORIGINALS_BUCKET, RENDITIONS_BUCKET):
            self.store.create_bucket(bucket)
        self._publisher = PubSubPublisher(self.broker.address)
        stack.callback(self._publisher.close)
        self._workers: list[RunningWorker] = []

    def server_cpu_seconds(self) -> float:
        """Of broker and GCS server as far as they run below this process."""
        workers = frozenset(worker.child.guard_pid for worker in self._workers)
        below = processes.children(os.getpid())
        return sum(processes.tree_cpu_seconds(pid, without=workers) for pid in below)

    @contextmanager
    def worker(
        self, folder: Path, *, vcpus: int, latency_ms: int, settings: Mapping[str, str]
    ) -> Iterator[RunningWorker]:
        """A worker that is ready; drained at the end unless that has happened by then.

        Raises:
            Fatal: it did not become ready.
        """
        names = Names(PROJECT, f"-{secrets.token_hex(3)}")
        with ExitStack() as stack:
            resources = Resources(self.broker.address, names)
            stack.callback(resources.close)
            resources.create(self.store)
            stack.callback(resources.delete)
            environment = {
                **self._environment,
                **names.environment(),
                "PUBSUB_EMULATOR_HOST": self.broker.address,
                "STORAGE_EMULATOR_HOST": self._far_away(stack, latency_ms),
                "WORKER_VCPUS": str(vcpus),
                "WORKER_HTTP_PORT": "0",
                "WORKER_LOG_FORMAT": "json",
                "WORKER_LOG_LEVEL": "info",
                "WORKER_DRAIN_SECONDS": f"{_DRAIN_SECONDS:g}",
                **settings,
            }
            log = folder / f"worker{names.suffix}.log"
            started = time.monotonic()
            child = WorkerChild(environment, drain_seconds=_DRAIN_SECONDS, log=log)
            stack.callback(child.stop)
            topic = names.topic("photos")
            events = EventPublisher(self.store, self._publisher, topic)
            worker = RunningWorker(child, events, log, vcpus, started)
            self._workers.append(worker)
            stack.callback(self._workers.remove, worker)
            _wait_until_ready(worker)
            yield worker

    def _far_away(self, stack: ExitStack, latency_ms: int) -> str:
        """The GCS server's URL, behind a latency if there is one."""
        scheme, _, address = self.storage.address.rstrip("/").partition("://")
        if not latency_ms:
            return self.storage.address
        if scheme != "http":
            raise Fatal("--latency-ms needs a GCS server without TLS")
        return f"http://{stack.enter_context(LatencyProxy(address, latency_ms / 1e3)).address}"


def _wait_until_ready(worker: RunningWorker) -> None:
    deadline = worker.started + _READY_SECONDS
    while not worker.recipe:
        for entry in worker.look():
            if entry["message"] == "running":
                worker.ready_seconds = round(time.monotonic() - worker.started, 3)
                worker.recipe, worker.slots = str(entry["recipe"]), int(entry["slots"])
        if time.monotonic() > deadline:
            raise Fatal(f"the worker is not ready:\n{worker.child.last_lines()}")
        time.sleep(_LOOK_SECONDS)
    of_children = [
        processes.memory_bytes(child, "VmRSS") for child in processes.children(worker.pid)
    ]
    worker.base_bytes = max(of_children, default=0)
