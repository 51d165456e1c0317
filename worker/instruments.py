"""The composition root of the operators' verbs: settings become what sweeps and foretells."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

from worker.canary import CanaryWatch
from worker.config import Settings
from worker.events import Register
from worker.forecast import Forecaster
from worker.layout import Layout
from worker.machine import read_machine
from worker.manifests import Manifests
from worker.parts import buckets_of, fresh_id, now, originals_of
from worker.probe import Probe
from worker.renditions import Renditions
from worker.storage import GcsStore
from worker.sweep import Sweeper
from worker.verify import Verifier


def build_verifier(settings: Settings, store: GcsStore) -> Verifier:
    """A verifier of the renditions' bucket."""
    bucket = settings.renditions_bucket or ""
    return Verifier(store, bucket, Manifests(store, bucket, Layout(settings.output_prefix)))


def build_sweeper(
    settings: Settings,
    store: GcsStore,
    *,
    older_than: timedelta,
    dry_run: bool,
    register_again: Callable[[Register], object] | None,
) -> Sweeper:
    """A sweeper of the renditions' bucket."""
    layout, bucket = Layout(settings.output_prefix), settings.renditions_bucket or ""
    manifests = Manifests(store, bucket, layout)
    return Sweeper(
        verifier=build_verifier(settings, store),
        manifests=manifests,
        renditions=Renditions(store, bucket, layout),
        layout=layout,
        clock=now,
        fresh_id=fresh_id,
        older_than=older_than,
        dry_run=dry_run,
        register_again=register_again,
    )


def open_probe(settings: Settings, store: GcsStore) -> Probe:
    """A child process that decodes originals as this machine's worker would.

    Raises:
        RenderFailed: it does not come up.
    """
    return Probe(
        store,
        memory_bytes=settings.capacity(read_machine()).render_memory_bytes,
        max_pixels=settings.max_original_pixels,
        timeout_seconds=settings.render_timeout_seconds,
    )


def build_forecaster(settings: Settings, store: GcsStore, probe: Probe) -> Forecaster:
    """Tells what a worker with these settings would make of a dead letter."""
    buckets = buckets_of(settings)
    return Forecaster(
        buckets=buckets,
        manifests=Manifests(store, buckets.renditions, buckets.layout),
        originals=originals_of(settings, store, buckets, grace_seconds=0.0),
        recipe=settings.recipe(probe.codec).fingerprint,
        probe=probe,
    )


def build_canary_watch(settings: Settings, store: GcsStore, seconds: float) -> CanaryWatch:
    """Watches what becomes of replayed dead letters, for so many seconds."""
    buckets = buckets_of(settings)
    return CanaryWatch(
        buckets=buckets,
        manifests=Manifests(store, buckets.renditions, buckets.layout),
        seconds=seconds,
    )
