"""What every verb needs of a terminal: progress, printed results, text for people, and its signals.

May import `telemetry`, `photo` and `errors`. Begin with `printer`, or with `stop`.
"""
