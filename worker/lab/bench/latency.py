"""A server that is further away: a proxy which holds back the first byte of each answer.

It passes bytes on as they are and knows of HTTP only that a request comes before its answer, on
connections that stay open as well (no pipelining: nobody's client of Cloud Storage does that).
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
from typing import Self

_CHUNK_BYTES = 1 << 18
_START_SECONDS = 10.0


class LatencyProxy:
    """Forwards between `address` and a server, in a thread of its own; a context manager."""

    def __init__(self, target: str, latency_seconds: float) -> None:
        """Listen nowhere yet; `target` is `HOST:PORT`."""
        self._host, _, port = target.rpartition(":")
        self._port = int(port)
        self._latency_seconds = latency_seconds
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True, name="latency")
        self._pumps: set[asyncio.Task[None]] = set()
        self.address = ""

    def start(self) -> Self:
        """Listen on a free port of the loopback interface, and say in `address` where."""
        self._thread.start()
        opened = asyncio.start_server(self._serve, "127.0.0.1", 0, limit=_CHUNK_BYTES)
        server = asyncio.run_coroutine_threadsafe(opened, self._loop).result(_START_SECONDS)
        self.address = f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
        self._server = server
        return self

    def stop(self) -> None:
        """Cut every connection, and listen no more."""
        asyncio.run_coroutine_threadsafe(self._close(), self._loop).result(_START_SECONDS)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(_START_SECONDS)
        self._loop.close()

    def __enter__(self) -> Self:
        """See `start`."""
        return self.start()

    def __exit__(self, *_: object) -> None:
        """See `stop`."""
        self.stop()

    async def _close(self) -> None:
        self._server.close()
        for pump in self._pumps:
            pump.cancel()
        await asyncio.gather(*self._pumps, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        pump = asyncio.current_task()
        if pump is not None:
            self._pumps.add(pump)
            pump.add_done_callback(self._pumps.discard)
        with contextlib.suppress(OSError, asyncio.CancelledError), contextlib.closing(writer):
            back, forth = await asyncio.open_connection(self._host, self._port, limit=_CHUNK_BYTES)
            with contextlib.closing(forth):
                await _Exchange(self._latency_seconds).run(reader, writer, back, forth)


class _Exchange:
    """One connection: requests one way, answers the other."""

    def __init__(self, latency_seconds: float) -> None:
        self._latency_seconds = latency_seconds
        self._asked = False

    async def run(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        back: asyncio.StreamReader,
        forth: asyncio.StreamWriter,
    ) -> None:
        """Until one side ends; what the server still had to say is passed on first."""
        requests = asyncio.ensure_future(self._requests(reader, forth))
        try:
            await self._answers(back, writer)
        finally:
            requests.cancel()
            await asyncio.gather(requests, return_exceptions=True)

    async def _requests(self, reader: asyncio.StreamReader, forth: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while data := await reader.read(_CHUNK_BYTES):
                self._asked = True
                forth.write(data)
                await forth.drain()
            forth.write_eof()

    async def _answers(self, back: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await back.read(_CHUNK_BYTES):
            if self._asked:
                self._asked = False
                await asyncio.sleep(self._latency_seconds)
            writer.write(data)
            await writer.drain()
