"""Google's Pub/Sub emulator as a child process: finds, starts and stops it.

It comes with the Google Cloud CLI (`gcloud components install pubsub-emulator`) and needs Java.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Self

import grpc

from worker.lab.local.child_server import ChildServer, reserve_port

START_SECONDS = 30.0

SDK_VARIABLES = ("CLOUDSDK_ROOT_DIR", "CLOUDSDK_INSTALL_DIR", "GOOGLE_CLOUD_SDK")
"""Variables that may name the folder of the Google Cloud CLI, or the one above it."""

_JARS = "platform/pubsub-emulator/lib/*.jar"


class EmulatorError(RuntimeError):
    """Google's emulator is missing or did not start; the message says what to do."""


class GoogleEmulator:
    """One run of Google's emulator on the loopback interface; a context manager. Not thread-safe.

    Args:
        environ: the environment, such as `os.environ`; also the child's.
    """

    def __init__(self, environ: Mapping[str, str]) -> None:
        self._environ = dict(environ)
        self._server: ChildServer | None = None
        self._port = 0

    @staticmethod
    def find(environ: Mapping[str, str]) -> Path | None:
        """Return the emulator's jar, or None if that or Java is not installed."""
        if _find_java(environ) is None:
            return None
        roots = [
            Path(folder, *below)
            for variable in SDK_VARIABLES
            if (folder := environ.get(variable))
            for below in ((), ("google-cloud-sdk",))
        ]
        if gcloud := shutil.which("gcloud", path=environ.get("PATH", "")):
            # The command on PATH is often a link to ROOT/bin/gcloud.
            roots.append(Path(gcloud).resolve().parent.parent)
        return next((jar for root in roots for jar in sorted(root.glob(_JARS))), None)

    @property
    def address(self) -> str:
        """`HOST:PORT`, for `PUBSUB_EMULATOR_HOST`; valid once started."""
        return f"127.0.0.1:{self._port}"

    def start(self, port: int = 0) -> Self:
        """Start the emulator and wait until it answers; 0 takes a free port. Idempotent.

        Raises EmulatorError if it is not installed, ends, or does not answer within 30 s.
        """
        if self._server:
            return self
        jar, java = self.find(self._environ), _find_java(self._environ)
        if jar is None or java is None:
            raise EmulatorError(
                "Google's Pub/Sub emulator was not found. Install Java and run `gcloud components "
                "install pubsub-emulator`, or use the embedded broker"
            )
        try:
            self._port = reserve_port(port)
        except OSError as error:
            # Otherwise the owner of the port would answer in the emulator's place.
            raise EmulatorError(
                f"Port {port} is taken ({error.strerror}). Choose another"
            ) from error
        command = [java, "-jar", str(jar), "--host=127.0.0.1", f"--port={self._port}"]
        server = ChildServer(command, self._environ)
        try:
            with grpc.insecure_channel(self.address) as channel:
                server.wait_until(lambda: _answers(channel), START_SECONDS)
        except (TimeoutError, ChildProcessError) as error:
            raise EmulatorError(
                f"Google's emulator on {self.address} {error}; is the port taken?"
            ) from error
        self._server = server
        return self

    def stop(self) -> None:
        """End the emulator and all of its children; idempotent."""
        if self._server:
            self._server.stop()
            self._server = None

    def __enter__(self) -> Self:
        """Start on a free port, unless started."""
        return self.start()

    def __exit__(self, *_: object) -> None:
        """Stop."""
        self.stop()


def _answers(channel: grpc.Channel) -> bool:
    list_topics = channel.unary_unary("/google.pubsub.v1.Publisher/ListTopics")
    try:
        # Field 1, a string: ListTopicsRequest(project="projects/up").
        list_topics(b"\n\x0bprojects/up", timeout=1.0, wait_for_ready=True)
    except grpc.RpcError:
        return False
    return True


def _find_java(environ: Mapping[str, str]) -> str | None:
    if home := environ.get("JAVA_HOME"):
        java = shutil.which("java", path=str(Path(home, "bin")))
        if java:
            return java
    return shutil.which("java", path=environ.get("PATH", ""))
