"""This package has what every verb needs of a terminal: progress, results, text and signals.

The package may import `telemetry`, `photo` and `errors`. Begin with `printer`, or with `stop`.
"""
