"""Docker for tests: the image, a network with the two servers in it, and workers in containers.

Containers are started as production starts them: no root, nothing writable but a temporary file
system, no capabilities. Everything is removed at the end, by whoever made it.
"""

from __future__ import annotations

import io
import json
import subprocess
import tarfile
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import docker
import grpc
from docker.models.containers import Container
from testcontainers.core.container import DockerContainer
from testcontainers.core.network import Network

from tests.e2e.stage import Stage
from tests.support.waiting import eventually
from worker.lab.local.gcs_server import _binary as gcs_server_binary

ROOT = Path(__file__).parents[2]
PUBSUB_PORT = 8085
STORAGE_PORT = 4443

SHUT_IN: dict[str, Any] = {
    "read_only": True,
    "cap_drop": ["ALL"],
    "security_opt": ["no-new-privileges"],
}


class Unavailable(Exception):
    """Docker, or an image that cannot be built here, is not to be had; the message says which."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Servers:
    """The two servers: for workers by their names in the network, for tests by the host's ports."""

    network: Network
    broker: str
    storage: str

    @property
    def inside(self) -> dict[str, str]:
        """What a worker in the network has in its environment."""
        return {
            "PUBSUB_EMULATOR_HOST": f"pubsub:{PUBSUB_PORT}",
            "STORAGE_EMULATOR_HOST": f"http://storage:{STORAGE_PORT}",
        }


class ContainedWorker:
    """One container of the image and its log."""

    def __init__(self, container: DockerContainer) -> None:
        self._container: Container = container.get_wrapped_container()

    def text(self) -> str:
        """The whole log, of both streams."""
        return str(self._container.logs().decode())

    def lines(self, message: str, **fields: Any) -> list[dict[str, Any]]:
        """The log's objects with this message and these fields."""
        entries = [json.loads(line) for line in self.text().splitlines() if line.startswith("{")]
        return [
            entry
            for entry in entries
            if entry["message"] == message and fields.items() <= entry.items()
        ]

    def wait_until_running(self) -> dict[str, Any]:
        """Wait; the log's line about it."""
        eventually(lambda: self.lines("running") or not self.state["Running"], "the worker runs")
        assert self.state["Running"], self.text()
        return self.lines("running")[0]

    @property
    def state(self) -> dict[str, Any]:
        """What the engine says: `Running`, `ExitCode`, `OOMKilled`, `Health`, ..."""
        self._container.reload()
        state: dict[str, Any] = self._container.attrs["State"]
        return state

    def execute(self, *command: str, **environment: str) -> tuple[int, str]:
        """Run a command in it; exit code and what it said."""
        code, said = self._container.exec_run(list(command), environment=environment)
        return int(code), said.decode()

    def stop(self, seconds: int) -> int:
        """`docker stop --time SECONDS`; the exit code, 137 if it had to be killed."""
        self._container.stop(timeout=seconds)
        return self.wait()

    def wait(self, seconds: float = 60) -> int:
        """Wait for the end; the exit code."""
        return int(self._container.wait(timeout=seconds)["StatusCode"])


class ContainerStage(Stage):
    """A stage on which workers run in containers of the image."""

    def __init__(self, image: str, servers: Servers, folder: Path, stack: ExitStack) -> None:
        super().__init__(servers.broker, servers.storage, folder, stack)
        self._image = image
        self._servers = servers

    def contained(
        self, limits: Mapping[str, Any] | None = None, /, **settings: str
    ) -> ContainedWorker:
        """Start `run`; settings by their names without prefix, limits by those of docker-py."""
        own = {k: v for k, v in self.environment.items() if k.startswith("WORKER_")}
        given = {f"WORKER_{name.upper()}": value for name, value in settings.items()}
        container = contained(
            self._image,
            network=self._servers.network,
            environment=own | self._servers.inside | {"WORKER_HTTP_PORT": "8080"} | given,
            **(limits or {}),
        )
        return ContainedWorker(self._stack.enter_context(container))


def contained(
    image: str,
    *command: str,
    network: Network | None = None,
    environment: dict[str, str] | None = None,
    **limits: Any,
) -> DockerContainer:
    """A container of the image, shut in; start it by `with`, and it is removed at the end."""
    container = DockerContainer(image).with_kwargs(**{**SHUT_IN, **limits})
    container = container.with_tmpfs_mount("/tmp", "size=1g")  # noqa: S108 (the container's own)
    if network is not None:
        container = container.with_network(network)
    if command:
        container = container.with_command(list(command))
    return container.with_envs(**(environment or {}))


def connect() -> docker.DockerClient:
    """The engine.

    Raises:
        Unavailable: Docker is absent.
    """
    # First the command: docker-py leaves a socket behind where Docker is absent.
    try:
        asked = subprocess.run(
            ["docker", "version"], capture_output=True, text=True, timeout=30, check=False
        )
        if asked.returncode != 0:
            raise Unavailable(f"no Docker engine answers: {asked.stderr.strip()[-200:]}")
        return docker.from_env(timeout=120)
    except (OSError, subprocess.TimeoutExpired, docker.errors.DockerException) as error:
        raise Unavailable(f"no Docker engine answers: {error}") from error


def provide(client: docker.DockerClient, name: str, *, pull: bool) -> str:
    """See that an image is there, and return its name.

    Raises:
        Unavailable: it is not, and was not to be pulled or cannot be.
    """
    try:
        client.images.get(name)
    except docker.errors.ImageNotFound:
        if not pull:
            raise Unavailable(f"the image {name} is not on this machine") from None
        try:
            client.images.pull(name)
        except docker.errors.APIError as error:
            raise Unavailable(f"the image {name} cannot be pulled: {error}") from error
    return name


def build(tag: str) -> str:
    """Build the project's image as `make image` does; its tag."""
    command = ["docker", "build", "--tag", tag, str(ROOT)]
    built = subprocess.run(command, capture_output=True, text=True, check=False)
    assert built.returncode == 0, (built.stdout + built.stderr)[-3000:]
    return tag


def build_gcs_server(client: docker.DockerClient, tag: str) -> str:
    """An image of fake-gcs-server alone, whose binary is in the development environment."""
    files = {
        "Dockerfile": b'FROM scratch\nCOPY server /server\nENTRYPOINT ["/server"]\n',
        "server": gcs_server_binary().read_bytes(),
    }
    context = io.BytesIO()
    with tarfile.open(fileobj=context, mode="w") as archive:
        for name, data in files.items():
            entry = tarfile.TarInfo(name)
            entry.size, entry.mode = len(data), 0o755
            archive.addfile(entry, io.BytesIO(data))
    context.seek(0)
    client.images.build(fileobj=context, custom_context=True, tag=tag, rm=True)
    return tag


@contextmanager
def servers_up(emulator_image: str, storage_image: str) -> Iterator[Servers]:
    """Google's Pub/Sub emulator and fake-gcs-server in a network of their own, once they answer."""
    with ExitStack() as stack:
        network = stack.enter_context(Network())
        emulator = DockerContainer(emulator_image).with_exposed_ports(PUBSUB_PORT)
        emulator = emulator.with_network(network).with_network_aliases("pubsub")
        emulator = emulator.with_command(
            f"gcloud beta emulators pubsub start --host-port=0.0.0.0:{PUBSUB_PORT}"
        )
        storage = DockerContainer(storage_image).with_exposed_ports(STORAGE_PORT)
        storage = storage.with_network(network).with_network_aliases("storage")
        storage = storage.with_command(
            f"-scheme http -backend memory -port {STORAGE_PORT}"
            f" -external-url http://storage:{STORAGE_PORT} -public-host storage:{STORAGE_PORT}"
        )
        stack.enter_context(storage)
        stack.enter_context(emulator)
        broker = _address(emulator, PUBSUB_PORT)
        with grpc.insecure_channel(broker) as channel:
            grpc.channel_ready_future(channel).result(timeout=60)
        yield Servers(
            network=network, broker=broker, storage=f"http://{_address(storage, STORAGE_PORT)}"
        )


def _address(container: DockerContainer, port: int) -> str:
    return f"{container.get_container_host_ip()}:{container.get_exposed_port(port)}"
