"""Google Cloud Pub/Sub. Its SDK and its exceptions stay in this room.

`consumer` is the streaming pull with its bounded drain, `scheduler` its threads, `clients`
publishes and looks at resources. May import `telemetry`, `photo` and `errors`. Begin with
`consumer`.
"""
