"""Google's Pub/Sub emulator as a child process.

Owns finding, starting and stopping it. It comes with the Google Cloud CLI
(`gcloud components install pubsub-emulator`) and needs Java.
"""

from __future__ import annotations

import shutil
import socket
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Self

import grpc

from worker.lab.guard import Guarded

START_SECONDS = 30.0
STOP_SECONDS = 5.0
"""How long the emulator may take to end by itself before it is killed."""

SDK_VARIABLES = ("CLOUDSDK_ROOT_DIR", "CLOUDSDK_INSTALL_DIR", "GOOGLE_CLOUD_SDK")
"""Variables that may name the folder of the Google Cloud CLI, or the one above it."""

_JARS = "platform/pubsub-emulator/lib/*.jar"


class EmulatorError(RuntimeError):
    """Google's emulator is missing or did not start; the message says what to do."""


class GoogleEmulator:
    """One run of Google's emulator on the loopback interface; a context manager. Not thread-safe.

    Ctrl-C in a terminal does not reach it, so that what uses it can end first; it ends with this
    process at the latest (see `guard`).

    Args:
        environ: the environment, such as `os.environ`; also the child's.
    """

    def __init__(self, environ: Mapping[str, str]) -> None:
        self._environ = dict(environ)
        self._server: Guarded | None = None
        self._log: IO[bytes] | None = None
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
        """Start, and wait until it answers; 0 takes a free port. Idempotent while it runs.

        Raises EmulatorError if it is not installed, ends, or does not answer within 30 s.
        """
        if self._server:
            return self
        jar = self.find(self._environ)
        java = _find_java(self._environ)
        if jar is None or java is None:
            raise EmulatorError(
                "Google's Pub/Sub emulator was not found. Install Java and run `gcloud components "
                "install pubsub-emulator`, or use the embedded broker"
            )
        self._port = _reserve_port(port)
        # A file and not a pipe: nobody reads along, and a full pipe would stop the emulator.
        self._log = tempfile.TemporaryFile()  # noqa: SIM115
        command = [java, "-jar", str(jar), "--host=127.0.0.1", f"--port={self._port}"]
        self._server = Guarded(command, log=self._log, environment=self._environ)
        try:
            self._wait_until_it_answers(self._server)
        except BaseException:
            self.stop()
            raise
        return self

    def stop(self) -> None:
        """End it and all of its children, by force after 5 s; idempotent."""
        if self._server:
            self._server.stop(STOP_SECONDS)
            self._server = None
        if self._log:
            self._log.close()
            self._log = None

    def __enter__(self) -> Self:
        """Start on a free port, unless started."""
        return self.start()

    def __exit__(self, *_: object) -> None:
        """Stop."""
        self.stop()

    def _wait_until_it_answers(self, server: Guarded) -> None:
        give_up = time.monotonic() + START_SECONDS
        with grpc.insecure_channel(self.address) as channel:
            list_topics = channel.unary_unary("/google.pubsub.v1.Publisher/ListTopics")
            # Field 1, a string: ListTopicsRequest(project="projects/up").
            request = b"\n\x0bprojects/up"
            while time.monotonic() < give_up:
                try:
                    list_topics(request, timeout=1.0, wait_for_ready=True)
                except grpc.RpcError:
                    if (code := server.exit_code) is not None:
                        raise EmulatorError(
                            f"Google's emulator ended with exit code {code}; is port {self._port} "
                            f"taken? Its last words: {self._last_words()}"
                        ) from None
                else:
                    return
        raise EmulatorError(
            f"Google's emulator did not answer on {self.address} within {START_SECONDS:g} s. Its "
            f"last words: {self._last_words()}"
        )

    def _last_words(self) -> str:
        if self._log is None:
            return ""
        self._log.seek(0)
        return self._log.read().decode(errors="replace").strip()[-500:]


def _find_java(environ: Mapping[str, str]) -> str | None:
    if home := environ.get("JAVA_HOME"):
        java = shutil.which("java", path=str(Path(home, "bin")))
        if java:
            return java
    return shutil.which("java", path=environ.get("PATH", ""))


def _reserve_port(port: int) -> int:
    """Return `port`, or a free one for 0. Raises EmulatorError if it is taken."""
    with socket.socket() as probe:
        # As servers do: a connection that just ended does not make the port taken.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError as error:
            # Otherwise whoever has the port would answer in the emulator's place.
            raise EmulatorError(
                f"Port {port} is taken ({error.strerror}). Choose another"
            ) from error
        return int(probe.getsockname()[1])
