"""The image's health check: whether the worker in this container answers that it is alive.

Ends with 0 when `/healthz` says 200, and where the health checks are off (`WORKER_HTTP_PORT=0`):
then nobody can tell, and a container that runs is taken for a healthy one. Ends with 1 otherwise.
A few lines on a socket, because Docker runs it every few seconds: an HTTP client costs three times
the CPU to import. It reads the variable, not the command line: in a container set the port there.
"""

import os
import socket
import sys

_DEFAULT_PORT = "8080"
_SECONDS = 3.0


def alive(port: int) -> bool:
    """Ask on the loopback interface; False as well when nobody answers within three seconds."""
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=_SECONDS) as connection:
            connection.sendall(b"GET /healthz HTTP/1.0\r\nHost: localhost\r\n\r\n")
            with connection.makefile("rb") as answer:
                status = answer.readline().split(maxsplit=2)
    except OSError:
        return False
    return status[1:2] == [b"200"]


if __name__ == "__main__":
    port = os.environ.get("WORKER_HTTP_PORT") or _DEFAULT_PORT
    sys.exit(not (port == "0" or (port.isdecimal() and alive(int(port)))))
