"""Google Cloud Pub/Sub. Its SDK and its exceptions stay in this room.

`consumer` opens and drains the streaming pull, `scheduler` runs its threads, `clients` publishes
and checks resources, `channels` makes the connections. May import `telemetry`, `photo` and
`errors`. Begin with `consumer`.
"""
