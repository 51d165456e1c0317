"""What every verb needs of a terminal: progress, output whose reader may leave, harmless text.

May import `telemetry`, `photo` and `errors`.
"""
