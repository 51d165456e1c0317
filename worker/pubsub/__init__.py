"""Google Cloud Pub/Sub. Its SDK and its exceptions stay in this room.

`consumer` is the streaming pull and its drain, `scheduler` its threads, `clients` publishes and
checks resources, `channels` are their connections. May import `telemetry`, `photo` and `errors`.
Begin with `consumer`.
"""
