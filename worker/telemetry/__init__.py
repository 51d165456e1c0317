"""Logs, metrics and traces.

`logs` configures structlog, `entry` shapes Cloud Logging's fields, `redaction` removes secrets,
`pipe` writes the lines. `metrics` lists every metric, `counters` counts. `spans` is what handlers
use of tracing, `tracing` does it with OpenTelemetry, `propagation` passes the context on in
attributes, `exporters` sends the spans. May import `photo` and `errors`. Begin with `logs`.
"""
