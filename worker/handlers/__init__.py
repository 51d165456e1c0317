"""The story of a message: from a delivery to its acknowledgement.

`gate` holds deliveries while Cloud Storage is silent. `dispatch` parses the event, calls `register`
or `deregister`, and is the only module that acks. `originals`, `renditions` and `manifests` read
and write Cloud Storage. `reject` records a permanent failure, `brake` stops a worker whose photos
almost all fail, `steps` times each part, `leases` records which messages are held and since when.
May import `photo`, `telemetry` and `errors`; SDKs and clocks arrive by constructor. Begin with
`dispatch`, then `register`.
"""
