"""The image and the servers, made once. Without Docker these tests are skipped, and say why.

`make test-containers` insists: with CONTAINER_TESTS=insist they fail instead, and missing images
are pulled. It names the image to test in CONTAINER_TESTS_IMAGE; without, one is built here.
"""

from __future__ import annotations

import fcntl
import os
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import NoReturn

import docker
import pytest

from tests.containers.engine import (
    ContainerStage,
    Servers,
    Unavailable,
    build,
    build_gcs_server,
    connect,
    provide,
    servers_up,
)
from worker.lab.local.servers import IMAGES

INSIST = "CONTAINER_TESTS"
BASE_IMAGE = "python:3.12-slim-bookworm"


@pytest.fixture(scope="session")
def engine() -> Iterator[docker.DockerClient]:
    try:
        client = connect()
    except Unavailable as error:
        _unavailable(error)
    yield client
    client.close()


@pytest.fixture(scope="session")
def image(engine: docker.DockerClient) -> str:
    """The image under test: the given one, or the one that this checkout makes."""
    if given := os.environ.get("CONTAINER_TESTS_IMAGE"):
        return given
    try:
        provide(engine, BASE_IMAGE, pull=True)
    except Unavailable as error:
        _unavailable(error)
    # Two processes of the suite would make it twice.
    with Path(tempfile.gettempdir(), "photo-worker-image-build").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        return build("photo-worker:test")


@pytest.fixture(scope="session")
def servers(engine: docker.DockerClient) -> Iterator[Servers]:
    """Once for all tests; the emulator's image has two gigabytes, so only who insists pulls it."""
    emulator = next((name for name in IMAGES if engine.images.list(name)), IMAGES[0])
    try:
        provide(engine, emulator, pull=_insists())
    except Unavailable as error:
        _unavailable(error)
    storage = build_gcs_server(engine, "photo-worker-gcs-server:test")
    with servers_up(emulator, storage) as servers:
        yield servers


@pytest.fixture
def stage(image: str, servers: Servers, tmp_path: Path) -> Iterator[ContainerStage]:
    with ExitStack() as stack:
        yield ContainerStage(image, servers, tmp_path, stack)


def _insists() -> bool:
    return os.environ.get(INSIST) == "insist"


def _unavailable(why: Unavailable) -> NoReturn:
    if _insists():
        pytest.fail(f"{why} ({INSIST}=insist)")
    pytest.skip(f"{why}; with Docker running: `make test-containers`")
