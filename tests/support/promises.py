"""What docs/contract.md promises about manifests, read as plain JSON; `worker` is not asked.

So a mistake in the worker cannot hide in its own test.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tests.support.fakes import crc32c

Facts = Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """One event about a photo.

    `sound`: its original can be rendered. `failing`: there is a reason to refuse it. Both hold if
    the original has changed.
    """

    version: int
    removes: bool = False
    sound: bool = False
    failing: bool = False


def untrue(manifest: Facts, read: Callable[[str], bytes | None]) -> str | None:
    """What breaks promise 1: each rendition exists, complete, with the stated checksum."""
    for rendition in manifest["renditions"]:
        data = read(rendition["object"])
        if data is None:
            return f"{rendition['object']} is named and does not exist"
        if (len(data), crc32c(data)) != (rendition["bytes"], rendition["crc32c"]):
            return f"{rendition['object']} is not what was stated"
    return None


def known(manifest: Facts | None) -> int:
    """The highest version that a manifest knows of."""
    if manifest is None:
        return 0
    version: int = manifest["version"]
    rejection = manifest["rejection"]
    return max(version, rejection["version"]) if rejection else version


def check_final(manifest: Facts | None, claims: Sequence[Claim]) -> None:
    """Promise 2: what stands once every message about a photo is acked."""
    if not claims:
        assert known(manifest) == 0, f"{manifest} out of nothing"
        return
    said = f"{manifest} after {claims}"
    highest = max(each.version for each in claims)
    assert manifest is not None, said
    assert known(manifest) == highest, said
    state, version, rejection = manifest["state"], manifest["version"], manifest["rejection"]
    newest = [each for each in claims if each.version == highest]
    if any(each.removes for each in newest):
        # At equal versions deregister wins.
        assert (state, version, rejection) == ("deregistered", highest, None), said
        return
    if (state, version) == ("ready", highest):
        assert any(each.sound for each in newest), said
        assert rejection is None or any(each.failing for each in newest), said
        return
    # Every message of the highest version has failed, at least when it was last looked at.
    assert all(each.failing for each in newest), said
    assert rejection is not None, said
    assert rejection["version"] == highest, said
    if state == "rejected":
        assert version == highest, said
        return
    # Ready at an older version: a deregistration would stand against it, and whatever lies
    # between has failed as well.
    assert state == "ready", said
    assert any(each.sound for each in claims if each.version == version), said
    for each in claims:
        if version <= each.version < highest:
            assert not each.removes, said
            assert each.failing or each.version == version, said
