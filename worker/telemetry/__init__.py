"""Logs, metrics and traces.

`logs` configures structlog, `entry` shapes Cloud Logging's fields, `redaction` removes secrets,
`pipe` writes the lines. `metrics` lists every metric, `counters` counts. `spans` is the tracing
protocol for handlers, `tracing` implements it with OpenTelemetry, `propagation` puts the context
into attributes, `exporters` sends the spans. May import `photo` and `errors`. Begin with `logs`.
"""
