"""The composition root of `run`: it turns settings into the objects that run.

`wiring` constructs what the operator's verbs need in the same way.
"""

from __future__ import annotations

import contextlib
import os
import queue
import socket
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial

from google.cloud import pubsub_v1

from worker import __version__
from worker.errors import Fatal, StorageForbidden, StorageRefused
from worker.gcs.store import GcsStore
from worker.handlers.brake import Brake
from worker.handlers.deregister import DeregisterHandler
from worker.handlers.dispatch import Dispatcher, Topics
from worker.handlers.gate import Gate
from worker.handlers.leases import Leases
from worker.handlers.manifests import Manifests
from worker.handlers.register import RegisterHandler
from worker.handlers.reject import Rejector
from worker.handlers.renditions import Renditions
from worker.pubsub.clients import PubSubPublisher, look_at
from worker.pubsub.consumer import EMULATOR_LEASE_SECONDS, LEASE_SECONDS, Consumer
from worker.render.capacity import Capacity
from worker.render.job import WALL_PER_CPU
from worker.render.pool import RenderPool
from worker.service.liveness import Liveness
from worker.service.reachability import Reachability
from worker.settings.settings import Settings
from worker.system.scratch import Scratch
from worker.telemetry.counters import Counters
from worker.telemetry.exporters import Tracing, open_tracing
from worker.telemetry.logs import Log
from worker.wiring import (
    buckets_of,
    fresh_id,
    now,
    open_store,
    open_subscriber,
    originals_of,
    render_settings,
)

ORIGINAL_GRACE_SECONDS = 3.0
"""How long a missing original is looked up again: an event may arrive just before its upload
ends."""

TRANSFERS_PER_MESSAGE = 4
"""Uploads or deletes at once for each message, on average. A child makes small rungs faster than a
distant bucket answers."""

STORAGE_AND_PUBSUB_SECONDS = 300.0
"""The time allowed for the downloads, uploads and publishes of one event; they usually take far
less. If a lease ends too early, the event is handled twice, which is harmless."""


@dataclass(frozen=True, slots=True, kw_only=True)
class App:
    """The parts of a running worker that the daemon starts, watches and stops."""

    store: GcsStore
    publisher: PubSubPublisher
    subscriber: pubsub_v1.SubscriberClient
    pool: RenderPool
    consumer: Consumer
    brake: Brake
    leases: Leases
    liveness: Liveness
    counters: Counters
    pubsub: Reachability
    storage: Reachability
    scratch: Scratch
    tracing: Tracing
    fatal_errors: queue.SimpleQueue[Fatal]


def build(settings: Settings, capacity: Capacity, scratch: Scratch, log: Log) -> App:
    """Construct a worker without starting it. The caller removes `scratch`.

    Raises:
        Fatal: a part cannot be constructed, for example because credentials are missing.
    """
    if settings.subscription is None or settings.renditions_bucket is None:
        raise Fatal("WORKER_SUBSCRIPTION and WORKER_RENDITIONS_BUCKET are needed")
    tracing = open_tracing(os.environ, lambda text: log.warning("traces are lost", detail=text))
    transfers = TRANSFERS_PER_MESSAGE * capacity.in_flight
    store = open_store(settings, connections=capacity.in_flight + transfers + 2)
    publisher = PubSubPublisher(settings.pubsub_emulator_host)
    subscriber = open_subscriber(settings)
    pool = RenderPool(
        render_settings(settings, capacity, scratch.path),
        capacity.slots,
        log,
    )
    renderer = tracing.renderer(pool)
    brake = Brake(
        share=settings.brake_share, events=settings.brake_events, seconds=settings.brake_seconds
    )
    pubsub = Reachability("Pub/Sub", partial(look_at, subscriber, settings.subscription), log)
    storage = Reachability("Cloud Storage", partial(_look_at_storage, settings, store), log)
    counters, leases = Counters(), Leases()
    fatal_errors: queue.SimpleQueue[Fatal] = queue.SimpleQueue()
    gate_closed = threading.Event()

    buckets = buckets_of(settings)
    manifests = Manifests(store, buckets.renditions, buckets.layout)
    threads = ThreadPoolExecutor(transfers, thread_name_prefix="transfer")
    renditions = Renditions(store, buckets.renditions, buckets.layout, threads)
    dispatcher = Dispatcher(
        buckets=buckets,
        register=RegisterHandler(
            manifests=manifests,
            originals=originals_of(settings, store, buckets, grace_seconds=ORIGINAL_GRACE_SECONDS),
            renditions=renditions,
            renderer=renderer,
            clock=now,
            fresh_id=fresh_id,
            scratch=scratch.path,
        ),
        deregister=DeregisterHandler(
            manifests=manifests, renditions=renditions, clock=now, fresh_id=fresh_id
        ),
        reject=Rejector(manifests=manifests, renderer=renderer, clock=now, fresh_id=fresh_id),
        publisher=tracing.publisher(publisher),
        topics=Topics(outcome=settings.outcome_topic, dead_letter=settings.dead_letter_topic),
        fatal_errors=fatal_errors,
        wait_before_nack=gate_closed.wait,
        worker_name=f"photo-worker/{__version__} {socket.gethostname()}:{os.getpid()}",
        log=log,
        brake=brake,
        counters=counters,
        tracer=tracing.events(settings.subscription),
    )
    gate = Gate(
        dispatcher,
        storage_answers=lambda: storage.reachable,
        renders=pool,
        leases=leases,
        closed=gate_closed,
    )
    emulated = settings.pubsub_emulator_host is not None
    consumer = Consumer(
        subscriber,
        settings.subscription,
        in_flight=capacity.in_flight,
        lease_seconds=EMULATOR_LEASE_SECONDS if emulated else LEASE_SECONDS,
        max_lease_seconds=longest_handling_seconds(settings),
        drain_seconds=settings.drain_seconds,
        handle=gate,
        on_start=gate.open,
        on_drain=gate.close,
        log=log,
    )
    liveness = Liveness(
        consumer=consumer,
        pool=pool,
        pubsub=pubsub,
        storage=storage,
        brake=brake,
        leases=leases,
        handling_seconds=longest_handling_seconds(settings),
        drain_seconds=settings.drain_seconds,
    )
    return App(
        store=store,
        publisher=publisher,
        subscriber=subscriber,
        pool=pool,
        consumer=consumer,
        brake=brake,
        leases=leases,
        liveness=liveness,
        counters=counters,
        pubsub=pubsub,
        storage=storage,
        scratch=scratch,
        tracing=tracing,
        fatal_errors=fatal_errors,
    )


def _look_at_storage(settings: Settings, store: GcsStore) -> None:
    """Check that Cloud Storage answers; look up an object that does not exist, which is cheap.

    Raises:
        StorageUnavailable: Cloud Storage does not answer.
    """
    with contextlib.suppress(StorageForbidden, StorageRefused):
        store.stat(settings.renditions_bucket or "", f"{settings.output_prefix}.reachability")


def longest_handling_seconds(settings: Settings) -> float:
    """Return how long the handling of a message may take; a longer handling counts as stuck.

    A message may wait for the other messages that share its slot. On the last attempt its photo may
    be rendered twice.
    """
    renders = settings.in_flight_per_vcpu + 1
    return renders * WALL_PER_CPU * settings.render_timeout_seconds + STORAGE_AND_PUBSUB_SECONDS
