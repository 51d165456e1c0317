"""gRPC channels to Pub/Sub that notice a stuck network, and reconnect soon after it works again.

The numbers are measured, see docs/decisions/0010.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import grpc
from google.pubsub_v1.services.publisher.transports import PublisherGrpcTransport
from google.pubsub_v1.services.subscriber.transports import SubscriberGrpcTransport

_RECOVERY = [
    # gRPC closes a connection whose ping is unanswered for this long. The default is a minute, and
    # in this version `grpc.keepalive_timeout_ms` does not change the default.
    ("grpc.http2.ping_timeout_ms", 10_000),
    # gRPC's default is two minutes; a worker would lose them after the network works again.
    ("grpc.max_reconnect_backoff_ms", 10_000),
]
"""For production's channels, which ping after 30 s of silence already."""

_EMULATOR_RECOVERY = [
    ("grpc.max_reconnect_backoff_ms", 10_000),
    # This option also limits one attempt to connect. With gRPC's 20 s, an attempt that began while
    # the network was stuck would delay the next attempt by up to 20 s.
    ("grpc.min_reconnect_backoff_ms", 5_000),
]
_KEEPALIVE = [("grpc.keepalive_time_ms", 15_000), ("grpc.http2.ping_timeout_ms", 5_000)]


def emulator_channel(address: str, *, kept_alive: bool = False) -> grpc.Channel:
    """Return a channel to a broker on this machine that takes messages of any size.

    gRPC's default limit of 4 MB would silently hold back every message that shares a response with
    a large message; the clients' production channels are unlimited too.

    `kept_alive` is for channels on which an answer comes every ten seconds, so that pings are sent
    only in trouble. Google's emulator closes a connection at the fourth ping in a row
    ("too_many_pings"), and a waiting stream ends with it. Channels with equal options share a
    connection.
    """
    options = [("grpc.max_receive_message_length", -1), *_EMULATOR_RECOVERY]
    return grpc.insecure_channel(address, options=options + (_KEEPALIVE if kept_alive else []))


class _Reconnecting:
    """A transport of Google's whose channel reconnects soon after the network works again."""

    @classmethod
    def create_channel(
        cls,
        *args: Any,  # noqa: ANN401 (whatever the client passes)
        options: Sequence[tuple[str, int]] = (),
        **kwargs: Any,  # noqa: ANN401
    ) -> grpc.Channel:
        return super().create_channel(*args, options=[*options, *_RECOVERY], **kwargs)  # type: ignore[misc]


class PublisherTransport(_Reconnecting, PublisherGrpcTransport):
    """The transport for `PublisherClient`."""


class SubscriberTransport(_Reconnecting, SubscriberGrpcTransport):
    """The transport for `SubscriberClient`."""
