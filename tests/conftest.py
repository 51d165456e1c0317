"""The real servers that tests run against, each started once where none is given."""

from __future__ import annotations

import os
from collections.abc import Iterator

import grpc
import pytest

from worker.errors import Fatal
from worker.lab.local.emulator import GoogleEmulator
from worker.lab.local.gcs_server import GcsServer
from worker.lab.local.servers import IMAGES

EMULATOR_PORT = 8085


@pytest.fixture(scope="session")
def broker_address() -> Iterator[str]:
    """Google's Pub/Sub emulator: from the environment, this machine, or a container."""
    if address := os.environ.get("PUBSUB_EMULATOR_HOST"):
        yield address
    elif GoogleEmulator.find(os.environ) is not None:
        with GoogleEmulator(os.environ) as emulator:
            yield emulator.address
    else:
        yield from _contained_broker()


def _contained_broker() -> Iterator[str]:
    import docker
    from testcontainers.core.container import DockerContainer

    try:
        docker.from_env().ping()
    except docker.errors.DockerException:
        absent("neither Google's Pub/Sub emulator nor Docker is there")
    # Not testcontainers' own PubSubContainer: its module needs the Datastore client as well.
    container = DockerContainer(IMAGES[1]).with_exposed_ports(EMULATOR_PORT)
    command = f"gcloud beta emulators pubsub start --host-port=0.0.0.0:{EMULATOR_PORT}"
    with container.with_command(command):
        host = container.get_container_host_ip()
        address = f"{host}:{container.get_exposed_port(EMULATOR_PORT)}"
        with grpc.insecure_channel(address) as channel:
            grpc.channel_ready_future(channel).result(timeout=60)
        yield address


@pytest.fixture(scope="session")
def storage_url() -> Iterator[str]:
    """A real GCS server: from the environment, or fake-gcs-server."""
    if url := os.environ.get("STORAGE_EMULATOR_HOST"):
        yield url
        return
    try:
        server = GcsServer().start()
    except Fatal as error:
        absent(str(error))
    yield server.url
    server.stop()


def absent(reason: str) -> None:
    """Skip on a developer's machine; fail in CI, where every server must be there."""
    if os.environ.get("CI"):
        pytest.fail(reason)
    pytest.skip(reason)
