"""Logs, metrics and traces.

`logs` configures structlog, `entry` shapes Cloud Logging's fields, `pipe` writes them, `redaction`
removes secrets. `metrics` lists every metric, `counters` counts them. `spans` is what handlers use
of tracing, `tracing` is OpenTelemetry behind it, `propagation` carries the context in attributes,
`exporters` send it. May import `photo` and `errors`. Begin with `logs`.
"""
