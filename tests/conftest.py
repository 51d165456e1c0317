"""The real servers that tests run against, each started once where none is given."""

from __future__ import annotations

import os
import signal
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from typing import NoReturn

import grpc
import pytest

from worker.errors import Fatal
from worker.lab.emulator.server import EmbeddedBroker
from worker.lab.local.emulator import GoogleEmulator
from worker.lab.local.gcs_server import GcsServer
from worker.lab.local.servers import IMAGES

EMULATOR_PORT = 8085

# A shell starts its background jobs with SIGINT ignored, and every process of a test inherits that.
signal.signal(signal.SIGINT, signal.default_int_handler)

NO_GOOGLE = (
    "Google's Pub/Sub emulator is missing; with Java and the Google Cloud CLI: "
    "`gcloud components install pubsub-emulator`, or with Docker: "
    f"`docker pull {IMAGES[1]}`"
)


@pytest.fixture(scope="session")
def google_broker() -> Iterator[str | None]:
    """Google's Pub/Sub emulator: from the environment, this machine, or a container."""
    if address := os.environ.get("PUBSUB_EMULATOR_HOST"):
        yield address
    elif GoogleEmulator.find(os.environ) is not None:
        with GoogleEmulator(os.environ) as emulator:
            yield emulator.address
    else:
        yield from _contained_broker()


@pytest.fixture(scope="session")
def google_address(google_broker: str | None) -> str:
    """For tests of what Google's emulator itself does."""
    return google_broker or absent(NO_GOOGLE)


@pytest.fixture(scope="session")
def broker_address(google_broker: str | None) -> Iterator[str]:
    """For tests that any broker can carry: Google's emulator, or the embedded one in its absence.

    CI insists on Google's, which is closer to production.
    """
    if google_broker:
        yield google_broker
    elif os.environ.get("CI"):
        absent(NO_GOOGLE)
    else:
        with EmbeddedBroker() as broker:
            yield broker.address


def _contained_broker() -> Iterator[str | None]:
    import docker
    from testcontainers.core.container import DockerContainer

    try:
        with closing(docker.from_env()) as client:
            client.images.get(IMAGES[1])
    except docker.errors.DockerException:
        yield None
        return
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


def absent(reason: str) -> NoReturn:
    """Skip on a developer's machine; fail in CI, where every server must be there.

    The reason names what is missing and the command that brings it: the summary repeats it.
    """
    if os.environ.get("CI"):
        pytest.fail(reason)
    pytest.skip(reason)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say once for each cause how many tests were skipped for it."""
    causes: Counter[str] = Counter()
    for report in terminalreporter.stats.get("skipped", ()):
        _, _, reason = report.longrepr
        causes[reason.removeprefix("Skipped: ")] += 1
    if causes:
        terminalreporter.section("skipped")
    for reason, count in causes.most_common():
        tests = "1 test was" if count == 1 else f"{count} tests were"
        terminalreporter.line(f"{tests} skipped: {reason}")
