"""The set-up of `bench worker`: a broker, a GCS server, and real `photo-worker run` processes.

Each worker has its own topics and subscription and, if asked for, its own latency. So several
workers can be ready and take turns; workers without messages wait.
"""

from __future__ import annotations

import json
import os
import secrets
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack
from itertools import count
from pathlib import Path
from typing import Any

from worker.errors import Fatal
from worker.gcs.store import GcsStore
from worker.lab.bench.latency import LatencyProxy
from worker.lab.local.resources import ORIGINALS_BUCKET, RENDITIONS_BUCKET, Names, Resources
from worker.lab.local.servers import Server, open_broker, open_storage
from worker.lab.worker_process import WorkerProcess
from worker.operate.publish import EventPublisher, now_version, upload
from worker.photo.events import Register
from worker.photo.ports import StoredObject
from worker.pubsub.clients import PubSubPublisher
from worker.system import processes

PROJECT = "photo-worker-bench"

_LOOK_SECONDS = 0.01
_SILENT_SECONDS = 120.0
_DRAIN_SECONDS = 20.0
_MOST_NACKED = 10


class MeasuredWorker:
    """A worker that is ready, its events, and what it has handled so far. Not thread-safe.

    Attributes:
        handled: the log's entries of events that ended well, in that order.
        base_child_bytes: the most that an idle child process held at the start.
    """

    def __init__(
        self, process: WorkerProcess, events: EventPublisher, numbers: Iterator[int]
    ) -> None:
        """Wait until the worker is ready.

        Raises:
            Fatal: the worker ends, or does not become ready.
        """
        began = time.monotonic()
        self.process = process
        self.slots = 0
        self.recipe = ""
        self.nacked = 0
        self.handled: list[dict[str, Any]] = []
        self._events = events
        self._numbers = numbers
        self._seen = 0
        self.wait(lambda: bool(self.recipe))
        self.ready_seconds = round(time.monotonic() - began, 3)
        held = [processes.memory_bytes(each, "VmRSS") for each in processes.children(self.pid)]
        self.base_child_bytes = max(held, default=0)

    @property
    def pid(self) -> int:
        """Return the worker's process id."""
        return self.process.pid

    def new_photo(self, original: StoredObject) -> Register:
        """Return the event of a new photo of this original."""
        return Register(
            photo_id=f"{original.name}/{next(self._numbers)}",
            version=now_version(),
            original=f"gs://{original.bucket}/{original.name}",
            generation=str(original.generation),
        )

    def publish(self, events: Iterable[Register]) -> None:
        """Publish these events."""
        for event in events:
            self._events.publish(event)

    def deregister(self, events: Iterable[Register]) -> None:
        """Publish a deregistration for the photo of each event."""
        for _ in self._events.deregister([event.photo_id for event in events], None):
            pass

    def wait(self, seen: Callable[[], bool]) -> None:
        """Read the log until `seen` returns True.

        Raises:
            Fatal: the worker has ended, its log fell silent, or events fail.
        """
        deadline = time.monotonic() + _SILENT_SECONDS
        while not seen():
            time.sleep(_LOOK_SECONDS)
            entries = self.process.log.entries_after(self._seen)
            self._seen += len(entries)
            for entry in entries:
                self._note(entry)
            self.process.check()
            if entries:
                deadline = time.monotonic() + _SILENT_SECONDS
            elif time.monotonic() > deadline:
                end = self.process.log.last_lines()
                raise Fatal(f"the worker was silent for {_SILENT_SECONDS:g} s:\n{end}")

    def wait_until_handled(self, count: int) -> None:
        """Wait until `count` events in all have been handled; raise as `wait` does."""
        self.wait(lambda: len(self.handled) >= count)

    def _note(self, entry: dict[str, Any]) -> None:
        if entry.get("message") == "running":
            self.recipe, self.slots = str(entry["recipe"]), int(entry["slots"])
        if entry.get("message") != "handled":
            return
        outcome = entry.get("outcome")
        if outcome == "nacked":
            self.nacked += 1  # the message comes again; a few nacks only cost time
        elif outcome != "rejected":
            self.handled.append(entry)
        if outcome == "rejected" or self.nacked > _MOST_NACKED:
            raise Fatal(f"events fail, so figures mean nothing: {json.dumps(entry)}")


class Rig:
    """Broker and GCS server; opens workers on them. `stack` stops all of them."""

    def __init__(self, stack: ExitStack, broker: str, environment: Mapping[str, str]) -> None:
        """Find or start the two servers.

        Raises:
            Fatal, UsageFault: see `open_broker` and `open_storage`.
        """
        self._stack = stack
        self._environment = environment
        self._numbers = count(1)
        self._guards: set[int] = set()
        self.storage: Server = open_storage(environment)
        stack.callback(self.storage.stop)
        self.broker: Server = open_broker(broker, environment)
        stack.callback(self.broker.stop)
        self.store = GcsStore(project=PROJECT, emulator_url=self.storage.address, connections=8)
        stack.callback(self.store.close)
        self._publisher = PubSubPublisher(self.broker.address)
        stack.callback(self._publisher.close)
        for bucket in (ORIGINALS_BUCKET, RENDITIONS_BUCKET):
            self.store.create_bucket(bucket)

    def upload(self, name: str, file: Path) -> StoredObject:
        """Upload an original to the bucket; an object of that name is replaced."""
        return upload(self.store, ORIGINALS_BUCKET, name, file)

    def server_cpu_seconds(self) -> float:
        """Return the CPU seconds of broker and GCS server, if they run below this process."""
        below = processes.children(os.getpid())
        workers = frozenset(self._guards)
        return sum(processes.tree_cpu_seconds(pid, without=workers) for pid in below)

    def start(
        self, folder: Path, *, vcpus: int, latency_ms: int, settings: Mapping[str, str]
    ) -> MeasuredWorker:
        """Return a worker that is ready; it is drained at the end, unless it was drained before.

        Raises:
            Fatal: the worker did not become ready.
        """
        names = Names(PROJECT, f"-{secrets.token_hex(3)}")
        resources = Resources(self.broker.address, names)
        self._stack.callback(resources.close)
        resources.create(self.store)
        self._stack.callback(resources.delete)
        environment = {
            **self._environment,
            **names.environment(),
            "PUBSUB_EMULATOR_HOST": self.broker.address,
            "STORAGE_EMULATOR_HOST": self._at_distance(latency_ms),
            "WORKER_VCPUS": str(vcpus),
            "WORKER_HTTP_PORT": "0",
            "WORKER_LOG_FORMAT": "json",
            "WORKER_LOG_LEVEL": "info",
            "WORKER_DRAIN_SECONDS": f"{_DRAIN_SECONDS:g}",
            **settings,
        }
        log = folder / f"worker{names.suffix}.log"
        process = WorkerProcess(environment, drain_seconds=_DRAIN_SECONDS, log=log)
        self._stack.callback(process.stop)
        self._guards.add(process.guard_pid)
        events = EventPublisher(self.store, self._publisher, names.topic("photos"))
        return MeasuredWorker(process, events, self._numbers)

    def _at_distance(self, latency_ms: int) -> str:
        """Return the GCS server's URL, or the URL of a proxy that adds the latency."""
        scheme, _, address = self.storage.address.rstrip("/").partition("://")
        if not latency_ms:
            return self.storage.address
        if scheme != "http":
            raise Fatal("--latency-ms needs a GCS server without TLS")
        proxy = self._stack.enter_context(LatencyProxy(address, latency_ms / 1e3))
        return f"http://{proxy.address}"
