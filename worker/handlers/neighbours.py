"""Neighbours: workers with another output prefix on the same bucket, told by their manifests.

Prefixes that lie within each other give two photos one name: `b/x` under `photos/`, and `x` under
`photos/b/`.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice

from worker.errors import UnreadableManifest
from worker.photo.layout import MANIFEST, Layout
from worker.photo.manifest import Manifest
from worker.photo.ports import ObjectStore, StoredObject

_NAMES = 1000
"""Looked at in each listing: one page."""

_MANIFESTS = 8
"""Read of each listing."""

_LARGEST_BYTES = 1 << 20


def nested_prefixes(store: ObjectStore, bucket: str, layout: Layout) -> list[str]:
    """Output prefixes around or within this one that a short look at the bucket shows.

    It reads a page of names below this prefix, and two beside it in each folder around it.

    Raises:
        StorageUnavailable, BucketUnavailable: the bucket does not answer.
    """
    own = layout.prefix
    found = set(_prefixes(store, bucket, store.objects(bucket, own), own))
    folders = own.split("/")[:-1]
    for depth in range(len(folders)):
        around = "".join(f"{folder}/" for folder in folders[:depth])
        # The first name behind all that begin with the prefix: `0` follows its slash.
        behind = f"{own[:-1]}0"
        for listed in (
            store.objects(bucket, around, end=own),
            store.objects(bucket, around, start=behind),
        ):
            found |= set(_prefixes(store, bucket, listed, around))
    nested = (each for each in found if each.startswith(own) or own.startswith(each))
    return sorted(each for each in nested if each != own)


def _prefixes(
    store: ObjectStore, bucket: str, listed: Iterator[StoredObject], listed_prefix: str
) -> Iterator[str]:
    """The output prefixes of a few manifests, each from another folder."""
    folders: dict[str, str] = {}
    for each in islice(listed, _NAMES):
        if each.name.endswith(f"/{MANIFEST}") and each.size_bytes <= _LARGEST_BYTES:
            folder, _, _ = each.name.removeprefix(listed_prefix).partition("/")
            folders.setdefault(folder, each.name)
    # Deep ones first: what lies below another prefix has a folder more.
    names = sorted(folders.values(), key=lambda name: -name.count("/"))
    for name in names[:_MANIFESTS]:
        stored = store.read(bucket, name)
        try:
            manifest = Manifest.from_json(stored[0]) if stored else None
        except UnreadableManifest:
            continue
        end = f"{manifest.photo_id}/{MANIFEST}" if manifest else ""
        prefix = name.removesuffix(end)
        if prefix != name and (not prefix or prefix.endswith("/")):
            yield prefix
