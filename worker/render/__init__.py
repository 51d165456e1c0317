"""This package turns the bytes of one original into renditions, in child processes.

In the parent, `pool` queues jobs for slots, `admission` and `memory` decide how many run at once,
`slot` owns one child process, and `verification` checks the child's answers. Both sides speak
`protocol`. In the child, `child` is the program, `formats` reads the bytes before any decoder, and
`image` decodes, resizes and encodes. The package may import `system`, `telemetry`, `photo` and
`errors`. Begin with `pool`, or with `child`.
"""
