"""This package turns the bytes of one original into renditions, in child processes.

The parent's side: `pool` queues jobs (`job`) for slots, `capacity` says how many slots there are,
`memory` predicts what a render takes, `admission` lets renders begin while the sum fits, `slot`
owns one child process, and `verification` checks what it answers. Both sides speak `protocol`. The
child's side: `child` is its program, `formats` reads the bytes before any decoder, `image` decodes,
resizes and encodes. May import `system`, `telemetry`, `photo` and `errors`. Begin with `pool`, or
with `child`.
"""
