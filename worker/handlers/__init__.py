"""The story of a message: from a delivery to its acknowledgement.

`dispatch` parses the event, calls `register` or `deregister`, and is the only module that acks.
`originals`, `renditions` and `manifests` are what the handlers ask of storage, `reject` records a
permanent failure, `brake` stops a worker that fails everything, `steps` times it.
May import `photo`, `telemetry` and `errors`: SDKs and clocks arrive by constructor. Begin with
`dispatch`, then `register`.
"""
