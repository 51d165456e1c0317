"""Measure `dead-letters list` and `replay`: messages a second, CPU and peak memory.

    python -m benchmarks.dead_letters [--counts 10000,100000] [--broker google]
                                                     [--ordering-keys]

Starts a broker, publishes so many dead letters to a fresh topic, and runs the verbs in processes of
their own; their peak memory is the kernel's figure. The broker and this script are not counted, but
share the processors with them.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
import uuid
from contextlib import ExitStack
from typing import Any

from google.pubsub_v1 import PublisherClient, SubscriberClient
from google.pubsub_v1.services.publisher.transports import PublisherGrpcTransport
from google.pubsub_v1.services.subscriber.transports import SubscriberGrpcTransport
from google.pubsub_v1.types import PubsubMessage

from worker.lab.local.servers import open_broker
from worker.pubsub.channels import emulator_channel

BATCH = 1000
ERRORS = (
    ("corrupt_original", "VipsJpeg: premature end of JPEG image at line {}"),
    ("original_missing", "gs://originals/album/IMG_{}.jpg does not exist"),
    ("unsupported_format", "the first bytes b'{}' belong to no format that is rendered"),
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--counts", default="10000,100000")
    parser.add_argument("--broker", default="auto")
    parser.add_argument("--ordering-keys", action="store_true")
    options = parser.parse_args()
    with ExitStack() as stack:
        broker = open_broker(options.broker, os.environ)
        stack.callback(broker.stop)
        counts = [int(each) for each in options.counts.split(",")]
        report = [measure(broker.address, each, keyed=options.ordering_keys) for each in counts]
    print(json.dumps({"broker": broker.name, "runs": report}, indent=2))


def measure(address: str, count: int, *, keyed: bool) -> dict[str, Any]:
    project = f"projects/measure-{uuid.uuid4().hex[:8]}"
    topic, dead = f"{project}/topics/photos", f"{project}/topics/dead-letters"
    subscription = f"{project}/subscriptions/dead-letters"
    channel = emulator_channel(address)
    publisher = PublisherClient(transport=PublisherGrpcTransport(channel=channel))
    subscriber = SubscriberClient(transport=SubscriberGrpcTransport(channel=channel))
    for name in (topic, dead):
        publisher.create_topic(name=name)
    subscriber.create_subscription(name=subscription, topic=dead)
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith("WORKER_")},
        "PUBSUB_EMULATOR_HOST": address,
        "WORKER_TOPIC": topic,
        "WORKER_DEAD_LETTER_SUBSCRIPTION": subscription,
    }
    empty = run(environment, "list")
    for start in range(0, count, BATCH):
        messages = [letter(number, keyed=keyed) for number in range(start, start + BATCH)]
        publisher.publish(topic=dead, messages=messages)
    listed, replayed = run(environment, "list"), run(environment, "replay")
    if (listed["result"]["total"], replayed["result"]["replayed"]) != (count, count):
        raise SystemExit(f"not all of {count}: {listed['result']['total']} {replayed['result']}")
    channel.close()
    return {
        "letters": count,
        "empty_list_seconds": empty["seconds"],
        "list": figures(listed, count),
        "replay": figures(replayed, count),
    }


def figures(ran: dict[str, Any], count: int) -> dict[str, Any]:
    return {
        "seconds": ran["seconds"],
        "letters_a_second": round(count / ran["seconds"]),
        "cpu_seconds": ran["cpu_seconds"],
        "peak_mb": ran["peak_mb"],
    }


def letter(number: int, *, keyed: bool) -> PubsubMessage:
    reason, error = ERRORS[number % len(ERRORS)]
    photo_id = f"album-{number % 100}/IMG_{number:06}"
    event = {
        "type": "photo.register",
        "photo_id": photo_id,
        "version": 1_763_769_600_000_000 + number,
        "original": f"gs://originals/{photo_id}.jpg",
        "labels": {"album": f"album-{number % 100}"},
    }
    attributes = {
        "dead_letter_reason": reason,
        "dead_letter_message": error.format(number),
        "dead_letter_worker": "photo-worker/0.1.0 host:7",
    }
    key = photo_id if keyed else ""
    return PubsubMessage(data=json.dumps(event).encode(), attributes=attributes, ordering_key=key)


def run(environment: dict[str, str], verb: str) -> dict[str, Any]:
    """Run a verb; its result, wall and CPU seconds, and peak resident megabytes."""
    started = time.monotonic()
    command = [sys.executable, "-m", "worker", "dead-letters", verb, "--json"]
    with tempfile.TemporaryFile() as output:
        running = subprocess.Popen(
            command, env=environment, stdout=output, stderr=subprocess.DEVNULL
        )
        _, status, usage = os.wait4(running.pid, 0)
        seconds = time.monotonic() - started
        running.returncode = os.waitstatus_to_exitcode(status)
        if running.returncode:
            raise SystemExit(f"dead-letters {verb} ended with {running.returncode}")
        output.seek(0)
        result = json.load(output)
    return {
        "result": result,
        "seconds": round(seconds, 1),
        "cpu_seconds": round(usage.ru_utime + usage.ru_stime, 1),
        "peak_mb": usage.ru_maxrss * 1024 // 1_000_000,
    }


if __name__ == "__main__":
    main()
