"""Wiring: the parts that both `run` and the operator's verbs construct from the settings.

The parts are clients of the services and a child that decodes. `check_resources` checks that the
named resources exist.
"""

from __future__ import annotations

import contextlib
import uuid
from datetime import UTC, datetime
from pathlib import Path

from google.cloud import pubsub_v1

from worker.errors import BucketUnavailable, StorageUnavailable, StreamLost
from worker.gcs.patience import Patience
from worker.gcs.store import GcsStore
from worker.handlers.neighbours import nested_prefixes
from worker.handlers.originals import Originals
from worker.photo.events import Buckets
from worker.photo.globs import Globs
from worker.photo.layout import Layout
from worker.pubsub.clients import PubSubPublisher, Subscriber, check_subscription
from worker.render.capacity import Capacity
from worker.render.job import RenderSettings
from worker.render.probe import Probe
from worker.settings.settings import Settings
from worker.system.machine import read_machine


def open_store(
    settings: Settings, *, connections: int = 8, patience: Patience | None = None
) -> GcsStore:
    """Return a client of Cloud Storage. By default its retries end before a drain ends.

    Raises:
        Fatal: credentials are missing.
    """
    return GcsStore(
        project=settings.project,
        emulator_url=settings.storage_emulator_host,
        connections=connections,
        patience=patience or Patience.within(settings.drain_seconds),
        billing_project=settings.billing_project,
    )


def open_subscriber(settings: Settings) -> pubsub_v1.SubscriberClient:
    """Return a client of subscriptions, on the emulator if the settings name one.

    Raises:
        Fatal: credentials are missing.
    """
    return Subscriber(settings.pubsub_emulator_host)


def check_resources(
    settings: Settings,
    store: GcsStore,
    publisher: PubSubPublisher,
    subscriber: pubsub_v1.SubscriberClient,
) -> None:
    """Check that the subscription, topics and buckets in the settings exist.

    Raises:
        SubscriptionUnavailable: the subscription or a topic is missing.
        BucketUnavailable: a bucket is missing or forbidden.
        StreamLost: a service does not answer.
    """
    if settings.subscription:
        check_subscription(subscriber, settings.subscription)
    for topic in (settings.topic, settings.dead_letter_topic, settings.outcome_topic):
        if topic:
            publisher.check_topic(topic)
    for bucket in sorted({*settings.originals_buckets, settings.renditions_bucket or ""} - {""}):
        try:
            store.check_bucket(bucket)
        except StorageUnavailable as error:
            raise StreamLost(
                f"cannot reach Cloud Storage to look at {bucket!r}: {error}"
            ) from error


def told_of_nesting(settings: Settings, store: GcsStore) -> str | None:
    """What to warn of where another worker's output prefix lies within this one or around it.

    `None` where a short look shows none, or where the bucket does not answer it.
    """
    layout = Layout(settings.output_prefix)
    with contextlib.suppress(StorageUnavailable, BucketUnavailable):
        if nested := nested_prefixes(store, settings.renditions_bucket or "", layout):
            return (
                f"WORKER_OUTPUT_PREFIX={settings.output_prefix!r} lies within another worker's "
                f"prefix or around it ({', '.join(map(repr, nested))}): photos of both may have "
                "one name; give each worker a folder of its own"
            )
    return None


def buckets_of(settings: Settings) -> Buckets:
    """Return the buckets and names of originals and of output."""
    return Buckets(
        originals=frozenset(settings.originals_buckets),
        renditions=settings.renditions_bucket or "",
        layout=Layout(settings.output_prefix),
        globs=Globs(include=settings.include, exclude=settings.exclude),
    )


def originals_of(
    settings: Settings, store: GcsStore, buckets: Buckets, *, grace_seconds: float
) -> Originals:
    """Return the originals within the settings' limits, with this grace period."""
    return Originals(
        store,
        buckets=buckets,
        limits=settings.limits,
        grace_seconds=grace_seconds,
    )


def render_settings(settings: Settings, capacity: Capacity, scratch: Path) -> RenderSettings:
    """What every render has in common, in a scratch folder; the children name the codec."""
    return RenderSettings(
        recipe=settings.recipe(""),
        max_pixels=settings.max_original_pixels,
        timeout_seconds=settings.render_timeout_seconds,
        memory_bytes=capacity.render_memory_bytes,
        scratch=scratch,
        watermark_file=settings.watermark,
    )


def now() -> datetime:
    """Return the current time, in UTC."""
    return datetime.now(UTC)


def fresh_id() -> str:
    """Return a random hex id of 32 digits."""
    return uuid.uuid4().hex


def open_probe(settings: Settings, store: GcsStore) -> Probe:
    """Return a child process that decodes originals as this machine's worker would.

    Raises:
        RenderFailed: the child cannot be started.
    """
    return Probe(
        store,
        memory_bytes=settings.capacity(read_machine()).render_memory_bytes,
        limits=settings.limits,
        timeout_seconds=settings.render_timeout_seconds,
    )
