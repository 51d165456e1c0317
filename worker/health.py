"""Health over HTTP: whether the worker is alive, and ready for messages.

Alive means that the stream has not ended for good and that child processes are up or on their way.
Ready also means that Pub/Sub and Cloud Storage answer, and that the brake is off. Neither a stuck
network nor the brake makes a worker dead: a restart would mend nothing, and throw away what it
renders, or what it knows.
"""

from __future__ import annotations

import json
import threading
from dataclasses import dataclass
from enum import StrEnum
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from worker.brake import Brake
from worker.consumer import Consumer
from worker.reachability import Reachability
from worker.renderer import RenderPool


class Phase(StrEnum):
    """Where a worker is in its life."""

    STARTING = "starting"
    RUNNING = "running"
    DRAINING = "draining"


@dataclass(slots=True)
class Pulse:
    """What the probes ask; thread-safe, `phase` is written by the daemon only."""

    consumer: Consumer
    pool: RenderPool
    pubsub: Reachability
    storage: Reachability
    brake: Brake
    phase: Phase = Phase.STARTING

    def ready(self) -> dict[str, bool]:
        """Each condition of readiness; all must hold."""
        return {
            "running": self.phase is Phase.RUNNING,
            "stream_open": self.consumer.open,
            "pool_alive": self.pool.alive,
            "pubsub_reachable": self.pubsub.reachable,
            "storage_reachable": self.storage.reachable,
            "brake_off": not self.brake.on,
        }

    def alive(self) -> dict[str, bool]:
        """Each condition of liveness: in mid-run, an ended stream or lost slots stay so."""
        if self.phase is not Phase.RUNNING:
            return {"can_progress": True}
        return {"can_progress": self.consumer.open and self.pool.serving}


class HealthServer:
    """`/healthz` and `/readyz` on one port, 200 or 503 with the conditions as JSON."""

    def __init__(self, port: int, pulse: Pulse) -> None:
        """Bind the port; OSError where it is taken."""
        answers = {"/healthz": pulse.alive, "/readyz": pulse.ready}

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                answer = answers.get(self.path.partition("?")[0])
                if answer is None:
                    self.send_error(404)
                    return
                conditions = answer()
                body = json.dumps(conditions).encode()
                self.send_response(200 if all(conditions.values()) else 503)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                """Probes come every few seconds; they are no news."""

        self._server = ThreadingHTTPServer(("", port), Handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.1,), daemon=True)

    def start(self) -> None:
        """Answer from now on."""
        self._thread.start()

    def stop(self) -> None:
        """Close the port."""
        self._server.shutdown()
        self._server.server_close()
