"""A stage for end-to-end tests: fresh topics, subscription, buckets, and real worker processes."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import urllib.error
import urllib.request
import uuid
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from google.pubsub_v1.types import DeadLetterPolicy, PubsubMessage, Subscription

from tests.support.promises import untrue
from tests.support.pubsub import PubSub
from tests.support.waiting import PATIENCE_SECONDS, eventually
from worker.gcs.store import GcsStore
from worker.lab.worker_process import WorkerLog

SLOW = {"ladder": "320,full", "full_effort": "6", "vcpus": "1"}
"""A first rung at once, then a render that is long enough to be caught in the middle."""


def free_port() -> str:
    """For a worker's `http_port`."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        return str(free.getsockname()[1])


class Worker:
    """One `photo-worker run` process and its JSON log."""

    def __init__(self, environment: Mapping[str, str], folder: Path) -> None:
        self.scratch = folder / f"scratch-{uuid.uuid4().hex[:6]}"
        self.scratch.mkdir()
        path = self.scratch / "worker.log"
        self.log = WorkerLog(path)
        self._http_port = environment["WORKER_HTTP_PORT"]
        with path.open("wb") as log:
            self.running = subprocess.Popen(
                [sys.executable, "-m", "worker", "run"],
                env={**environment, "TMPDIR": str(self.scratch)},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def lines(self, message: str | None = None, **fields: Any) -> list[dict[str, Any]]:
        """The log's objects with this message and these fields."""
        return self.log.entries(message, **fields)

    def text(self) -> str:
        """The whole log."""
        return self.log.text()

    def wait_until_running(self) -> Worker:
        eventually(lambda: self.lines("running") or self.ended(), "the worker runs")
        assert not self.ended(), self.text()
        return self

    def wait_until_rendering(self) -> None:
        """A child has written its first rendition, so a render holds a slot."""
        eventually(lambda: self.in_scratch("*.webp"), "a render is under way")

    def in_scratch(self, name: str) -> list[Path]:
        """Files of this name (a pattern) in the folders of the photos that it has in hand."""
        try:
            return list(self.scratch.glob(f"*/photo-*/{name}"))
        except FileNotFoundError:
            return []  # a folder was removed between being listed and being looked into

    def children(self) -> list[int]:
        """The process ids of its render slots."""
        found: list[int] = []
        for task in Path(f"/proc/{self.running.pid}/task").iterdir():
            with contextlib.suppress(FileNotFoundError):  # a thread that has ended meanwhile
                found += map(int, (task / "children").read_text().split())
        return found

    def get(self, path: str) -> tuple[int, str]:
        """The status and body of its answer over HTTP; 0 where none comes."""
        url = f"http://127.0.0.1:{self._http_port}{path}"
        try:
            with urllib.request.urlopen(url, timeout=10) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read().decode()
        except OSError:
            return 0, ""

    def unready(self) -> set[str]:
        """The conditions of readiness that do not hold."""
        status, body = self.get("/readyz")
        unready = {name for name, holds in json.loads(body).items() if not holds}
        assert (status == 200) == (not unready)
        return unready

    def ended(self) -> bool:
        return self.running.poll() is not None

    def signal(self, number: int = signal.SIGTERM) -> None:
        self.running.send_signal(number)

    def wait(self, seconds: float = 60) -> int:
        return self.running.wait(timeout=seconds)

    def stop(self) -> None:
        if not self.ended():
            self.running.kill()
        self.running.wait()


class Stage:
    """Everything one test needs, under names of its own."""

    def __init__(self, broker: str, storage: str, folder: Path, stack: ExitStack) -> None:
        self._folder = folder
        self._stack = stack
        tag = uuid.uuid4().hex[:8]
        project = f"projects/e2e-{tag}"
        self.topic = f"{project}/topics/photos"
        self.dead_letter_topic = f"{project}/topics/dead-letters"
        self.outcome_topic = f"{project}/topics/outcomes"
        self.subscription = f"{project}/subscriptions/photos"
        self.dead_letters = f"{project}/subscriptions/dead-letters"
        self.outcomes = f"{project}/subscriptions/outcomes"
        self.originals = f"originals-{tag}"
        self.renditions = f"renditions-{tag}"
        self.environment = {
            **{k: v for k, v in os.environ.items() if not k.startswith("WORKER_")},
            "PUBSUB_EMULATOR_HOST": broker,
            "STORAGE_EMULATOR_HOST": storage,
            "WORKER_SUBSCRIPTION": self.subscription,
            "WORKER_TOPIC": self.topic,
            "WORKER_DEAD_LETTER_TOPIC": self.dead_letter_topic,
            "WORKER_OUTCOME_TOPIC": self.outcome_topic,
            "WORKER_ORIGINALS_BUCKETS": self.originals,
            "WORKER_RENDITIONS_BUCKET": self.renditions,
            "WORKER_HTTP_PORT": "0",
            "WORKER_LOG_FORMAT": "json",
        }
        self.pubsub = PubSub(broker)
        stack.callback(self.pubsub.close)
        self.publisher, self.subscriber = self.pubsub.publisher, self.pubsub.subscriber
        self.store = GcsStore(project="e2e", emulator_url=storage, connections=8)
        stack.callback(self.store.close)
        for topic in (self.topic, self.dead_letter_topic, self.outcome_topic):
            self.publisher.create_topic(name=topic)
        self.subscriber.create_subscription(
            request=Subscription(
                name=self.subscription,
                topic=self.topic,
                ack_deadline_seconds=10,
                dead_letter_policy=DeadLetterPolicy(
                    dead_letter_topic=self.dead_letter_topic, max_delivery_attempts=10
                ),
            )
        )
        for name, topic in (
            (self.dead_letters, self.dead_letter_topic),
            (self.outcomes, self.outcome_topic),
        ):
            self.subscriber.create_subscription(name=name, topic=topic)
        self.store.create_bucket(self.originals)
        self.store.create_bucket(self.renditions)

    def worker(self, **settings: str) -> Worker:
        """Spawn a worker; settings by their names without prefix, in lower case."""
        environment = self.environment | {f"WORKER_{k.upper()}": v for k, v in settings.items()}
        worker = Worker(environment, self._folder)
        self._stack.callback(worker.stop)
        return worker

    def start_verb(self, *arguments: str, **environment: str) -> subprocess.Popen[str]:
        """Start `photo-worker ARGUMENTS` here."""
        return subprocess.Popen(
            [sys.executable, "-m", "worker", *arguments],
            env=self.environment | environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def verb(self, *arguments: str, **environment: str) -> Any:
        """Run `photo-worker ARGUMENTS --json` here, which must succeed; what it prints."""
        with self.start_verb(*arguments, "--json", **environment) as running:
            printed, said = running.communicate(timeout=60)
        assert running.returncode == 0, said
        return json.loads(printed)

    def upload(self, name: str, data: bytes) -> str:
        """Put an original; its URL."""
        there = self.store.stat(self.originals, name)
        self.store.write(
            self.originals,
            name,
            data,
            content_type="image/jpeg",
            cache_control="private",
            if_generation=there.generation if there else 0,
        )
        return f"gs://{self.originals}/{name}"

    def publish(self, event: Mapping[str, Any] | bytes, **attributes: str) -> str:
        """Publish an event; its message id."""
        data = event if isinstance(event, bytes) else json.dumps(event).encode()
        message = PubsubMessage(data=data, attributes=attributes)
        answer = self.publisher.publish(topic=self.topic, messages=[message])
        return str(answer.message_ids[0])

    def register(self, photo_id: str, version: int, data: bytes, **more: Any) -> str:
        """Upload an original and publish its event; the message id."""
        event = {
            "type": "photo.register",
            "photo_id": photo_id,
            "version": version,
            "original": self.upload(f"{photo_id}.jpg", data),
        }
        return self.publish(event | more)

    def deregister(self, photo_id: str, version: int) -> str:
        return self.publish({"type": "photo.deregister", "photo_id": photo_id, "version": version})

    def manifest(self, photo_id: str) -> dict[str, Any] | None:
        found = self.store.read(self.renditions, f"photos/{photo_id}/manifest.json")
        return json.loads(found[0]) if found else None

    def wait_for(
        self, photo_id: str, state: str, version: int, *, seconds: float = PATIENCE_SECONDS
    ) -> dict[str, Any]:
        """The manifest, once it has this state and version."""

        def there() -> dict[str, Any] | None:
            manifest = self.manifest(photo_id)
            if manifest and (manifest["state"], manifest["version"]) == (state, version):
                return manifest
            return None

        what = f"{photo_id} is {state} at version {version}"
        manifest = eventually(there, what, seconds=seconds)
        assert manifest is not None
        return manifest

    def objects(self, prefix: str = "") -> list[str]:
        """Names in the renditions' bucket."""
        return [each.name for each in self.store.objects(self.renditions, prefix)]

    def read(self, name: str) -> bytes:
        found = self.store.read(self.renditions, name)
        assert found is not None, name
        return found[0]

    def pull(self, subscription: str, count: int, seconds: float = 30) -> list[PubsubMessage]:
        """Take and ack this many messages."""
        messages: list[PubsubMessage] = []

        def enough() -> bool:
            messages.extend(self.pubsub.take(subscription))
            return len(messages) >= count

        eventually(enough, f"{count} messages in {subscription}", seconds=seconds)
        return messages

    def take_all(self, subscription: str) -> list[PubsubMessage]:
        """See `PubSub.take_all`."""
        return self.pubsub.take_all(subscription)

    def untrue(self, manifest: Mapping[str, Any]) -> str | None:
        """See `promises.untrue`."""

        def read(name: str) -> bytes | None:
            found = self.store.read(self.renditions, name)
            return found[0] if found else None

        return untrue(manifest, read)

    def assert_ready_is_true(self, manifest: Mapping[str, Any]) -> None:
        """Promise 1: what a ready manifest names exists, complete, with the stated checksum."""
        assert (fault := self.untrue(manifest)) is None, fault

    def assert_nothing_stray(self, *photo_ids: str, below: str = "") -> None:
        """Exactly the manifests of these photos, and what they name, lie in the bucket.

        `below`: only names of photos whose ids begin so are looked at.
        """
        expected = set()
        for photo_id in photo_ids:
            manifest = self.manifest(photo_id)
            assert manifest is not None, photo_id
            expected.add(f"photos/{photo_id}/manifest.json")
            expected |= {rendition["object"] for rendition in manifest["renditions"]}
        assert set(self.objects(f"photos/{below}" if below else "")) == expected


@contextmanager
def set_up(broker: str, storage: str, folder: Path) -> Iterator[Stage]:
    with ExitStack() as stack:
        yield Stage(broker, storage, folder, stack)
