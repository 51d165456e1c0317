"""Servers: finds or starts the broker and the GCS server of a local session."""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import grpc

from worker.errors import Fatal, UsageFault
from worker.lab.local.gcs_server import GcsServer

CHOICES = ("auto", "env", "google", "docker", "embedded")

IMAGES = (
    "gcr.io/google.com/cloudsdktool/google-cloud-cli:emulators",
    "google/cloud-sdk:emulators",
)
"""Google's images with the emulator. `auto` uses an image only if this machine has it already,
because a download of two gigabytes would delay a first try."""

_DOCKER_SECONDS = 10.0
_PULL_SECONDS = 900.0
_CONTAINER_PORT = 8085


@dataclass(frozen=True, slots=True, kw_only=True)
class Server:
    """A server in use: its name, its address, and how to stop it if it is `ours`."""

    name: str
    address: str
    ours: bool
    stop: Callable[[], None]


def open_broker(choice: str, environment: Mapping[str, str]) -> Server:
    """Find or start a Pub/Sub broker.

    Raises:
        UsageFault: the choice is unknown.
        Fatal: the chosen broker is missing; the message says what to install.
    """
    if choice not in CHOICES:
        raise UsageFault(f"--broker {choice!r} is none of {', '.join(CHOICES)}")
    address = environment.get("PUBSUB_EMULATOR_HOST", "")
    if choice == "env" or (choice == "auto" and address):
        if not address:
            raise Fatal("--broker env: PUBSUB_EMULATOR_HOST is not set")
        return Server(name="environment", address=address, ours=False, stop=lambda: None)
    if choice in ("google", "auto") and (server := _google(choice, environment)):
        return server
    if choice in ("docker", "auto") and (server := _docker(choice)):
        return server
    return _embedded()


def open_storage(environment: Mapping[str, str]) -> Server:
    """Take the GCS server of the environment, or start fake-gcs-server.

    Raises:
        Fatal: the server cannot be started.
    """
    if url := environment.get("STORAGE_EMULATOR_HOST", ""):
        if not url.startswith("http"):
            raise Fatal(f"STORAGE_EMULATOR_HOST={url!r} must begin with http:// or https://")
        return Server(name="environment", address=url, ours=False, stop=lambda: None)
    server = GcsServer().start()
    return Server(name="fake-gcs-server", address=server.url, ours=True, stop=server.stop)


def _google(choice: str, environment: Mapping[str, str]) -> Server | None:
    from worker.lab.local.emulator import EmulatorError, GoogleEmulator

    if GoogleEmulator.find(environment) is None:
        if choice == "auto":
            return None
        raise Fatal(
            "--broker google: the emulator was not found; install Java and the Google Cloud CLI's "
            "pubsub-emulator component, or take --broker embedded"
        )
    try:
        emulator = GoogleEmulator(environment).start()
    except EmulatorError as error:
        raise Fatal(f"{error}; or take --broker embedded") from error
    return Server(name="Google's emulator", address=emulator.address, ours=True, stop=emulator.stop)


def _embedded() -> Server:
    from worker.lab.emulator.server import EmbeddedBroker

    broker = EmbeddedBroker().start()
    return Server(
        name="embedded broker (in memory, for development only)",
        address=broker.address,
        ours=True,
        stop=broker.stop,
    )


def _docker(choice: str) -> Server | None:
    image = _image()
    if image is None:
        if choice == "auto":
            return None
        image = IMAGES[0]
    started = _run(
        *("docker", "run", "--detach", "--rm", "--publish", f"127.0.0.1::{_CONTAINER_PORT}"),
        *(image, "gcloud", "beta", "emulators", "pubsub", "start"),
        f"--host-port=0.0.0.0:{_CONTAINER_PORT}",
        seconds=_PULL_SECONDS,
    )
    if started is None:
        if choice == "auto":
            return None
        raise Fatal(f"--broker docker: `docker run {image}` failed; does `docker info` answer?")
    container = started.strip().splitlines()[-1]

    def stop() -> None:
        _run("docker", "stop", "--time", "2", container)

    inspected = json.loads(_run("docker", "inspect", container) or "[{}]")
    try:
        ports = inspected[0]["NetworkSettings"]["Ports"]
        port = ports[f"{_CONTAINER_PORT}/tcp"][0]["HostPort"]
        address = f"127.0.0.1:{port}"
        _wait_for_channel(address)
    except BaseException as error:
        stop()
        if isinstance(error, KeyError | IndexError | TypeError | Fatal):
            raise Fatal(f"--broker docker: the emulator in {image} did not come up") from error
        raise
    return Server(name=f"Docker ({image})", address=address, ours=True, stop=stop)


def _image() -> str | None:
    """Return an image that this machine has; `None` without one, or if Docker does not answer."""
    found = (image for image in IMAGES if _run("docker", "image", "inspect", image) is not None)
    return next(found, None)


def _run(*command: str, seconds: float = _DOCKER_SECONDS) -> str | None:
    try:
        ended = subprocess.run(
            command, capture_output=True, text=True, timeout=seconds, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return ended.stdout if ended.returncode == 0 else None


def _wait_for_channel(address: str, seconds: float = 60.0) -> None:
    deadline = time.monotonic() + seconds
    with grpc.insecure_channel(address) as channel:
        try:
            grpc.channel_ready_future(channel).result(timeout=deadline - time.monotonic())
        except grpc.FutureTimeoutError as error:
            raise Fatal(f"nothing answers at {address}") from error
