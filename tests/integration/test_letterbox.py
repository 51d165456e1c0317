"""The letterbox on real brokers: what is held stays away from others, and comes back."""

from __future__ import annotations

import subprocess
import sys
import uuid
import warnings
from collections.abc import Iterator
from typing import Any

import grpc
import pytest
from google.pubsub_v1 import PublisherClient, SubscriberClient
from google.pubsub_v1.services.publisher.transports import PublisherGrpcTransport
from google.pubsub_v1.services.subscriber.transports import SubscriberGrpcTransport
from google.pubsub_v1.types import PubsubMessage, PullRequest

from tests.support.fakes import recording_log
from tests.support.waiting import eventually
from worker.lab.emulator.server import EmbeddedBroker
from worker.operate.dead_letters.letterbox import Letterbox
from worker.pubsub.clients import Subscriber

LEASE_SECONDS = 3
QUIET_SECONDS = 1.0

HOLD = f"""
import sys, threading
from worker.operate.dead_letters.letterbox import Letterbox
from worker.pubsub.clients import Subscriber
from worker.telemetry.logs import configure_logs
letterbox = Letterbox(
    Subscriber(sys.argv[1]), sys.argv[2], configure_logs("json", "info"),
    lease_seconds={LEASE_SECONDS}, quiet_seconds={QUIET_SECONDS},
)
with letterbox:
    print(sum(len(page) for page in letterbox.pages()), flush=True)
    threading.Event().wait()
"""


class Dead:
    """A dead-letter subscription with letters in it, and letterboxes on it."""

    def __init__(self, address: str) -> None:
        self.address = address
        project = f"projects/box-{uuid.uuid4().hex[:8]}"
        self.topic = f"{project}/topics/dead"
        self.subscription = f"{project}/subscriptions/dead"
        self._channel = channel = grpc.insecure_channel(address)
        self.publisher = PublisherClient(transport=PublisherGrpcTransport(channel=channel))
        self.subscriber = SubscriberClient(transport=SubscriberGrpcTransport(channel=channel))
        self.publisher.create_topic(name=self.topic)
        self.subscriber.create_subscription(
            name=self.subscription, topic=self.topic, ack_deadline_seconds=10
        )
        self.clients: list[Subscriber] = []

    def publish(self, count: int) -> set[str]:
        messages = [PubsubMessage(data=b"x" * 200) for _ in range(count)]
        return set(self.publisher.publish(topic=self.topic, messages=messages).message_ids)

    def letterbox(self) -> Letterbox:
        client = Subscriber(self.address)
        self.clients.append(client)
        return Letterbox(
            client,
            self.subscription,
            recording_log()[0],
            lease_seconds=LEASE_SECONDS,
            quiet_seconds=QUIET_SECONDS,
        )

    def others_get(self) -> list[Any]:
        """What another reader is given at once."""
        request = PullRequest(
            subscription=self.subscription, max_messages=1000, return_immediately=True
        )
        with warnings.catch_warnings():
            # The field is deprecated, and the only way not to wait.
            warnings.simplefilter("ignore", DeprecationWarning)
            return list(self.subscriber.pull(request=request, retry=None).received_messages)

    def wait_for(self, ids: set[str]) -> None:
        """Every one of these is there again; they are acked, and then nothing is left."""
        missing = set(ids)

        def all_there() -> bool:
            if received := self.others_get():
                self.subscriber.acknowledge(
                    subscription=self.subscription, ack_ids=[each.ack_id for each in received]
                )
                missing.difference_update(each.message.message_id for each in received)
            return not missing

        eventually(all_there, f"{len(ids)} letters are there again", seconds=30)
        assert self.others_get() == []

    def close(self) -> None:
        for client in self.clients:
            client.close()
        self._channel.close()


@pytest.fixture(params=["google", "embedded"])
def dead(request: pytest.FixtureRequest) -> Iterator[Dead]:
    if request.param == "google":
        dead = Dead(request.getfixturevalue("google_address"))
        yield dead
        dead.close()
        return
    with EmbeddedBroker() as broker:
        dead = Dead(broker.address)
        yield dead
        dead.close()


def held_ids(letterbox: Letterbox) -> set[str]:
    """Reads to the end; nothing comes twice."""
    ids = [each.message_id for page in letterbox.pages() for each in page]
    assert len(ids) == len(set(ids))
    return set(ids)


def test_what_is_held_is_given_back(dead: Dead) -> None:
    published = dead.publish(1000) | dead.publish(500)
    with dead.letterbox() as letterbox:
        assert held_ids(letterbox) == published
        assert dead.others_get() == []
    dead.wait_for(published)


def test_what_is_acked_is_gone_and_the_rest_is_there(dead: Dead) -> None:
    published = dead.publish(300)
    acked: set[str] = set()
    with dead.letterbox() as letterbox:
        for page in letterbox.pages():
            letterbox.ack(page[::2])
            acked |= {each.message_id for each in page[::2]}
    dead.wait_for(published - acked)


def test_leases_are_extended_for_as_long_as_letters_are_held(
    dead: Dead, monkeypatch: pytest.MonkeyPatch
) -> None:
    published = dead.publish(20)
    extended: list[int] = []
    modify = Subscriber.modify_ack_deadline

    def counting(self: Subscriber, **fields: Any) -> None:
        modify(self, **fields)
        extended.append(len(fields["ack_ids"]))

    monkeypatch.setattr(Subscriber, "modify_ack_deadline", counting)
    with dead.letterbox() as letterbox:
        assert held_ids(letterbox) == published
        before = len(extended)
        # One each third of a lease: twice as long as one lease without them.
        eventually(lambda: len(extended) >= before + 6, "the leases are extended")
        assert set(extended[before:]) == {20}
        assert dead.others_get() == []
    dead.wait_for(published)


def test_what_a_killed_process_held_is_there_again(dead: Dead) -> None:
    published = dead.publish(200)
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLD, dead.address, dead.subscription],
        stdout=subprocess.PIPE,
        text=True,
    )
    with holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "200\n"
        assert dead.others_get() == []
        holder.kill()
    dead.wait_for(published)


def test_two_readers_share_the_letters_and_lose_none(dead: Dead) -> None:
    published = dead.publish(400)
    with dead.letterbox() as one, dead.letterbox() as other:
        pages = one.pages()
        first = {each.message_id for each in next(pages)}
        second = held_ids(other)
        rest = {each.message_id for page in pages for each in page}
        assert first | rest | second == published
        assert not (first | rest) & second
    dead.wait_for(published)


def test_an_empty_subscription(dead: Dead) -> None:
    with dead.letterbox() as letterbox:
        assert held_ids(letterbox) == set()
        assert letterbox.retention is not None
