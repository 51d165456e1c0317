"""`photo-worker bench`: measured runs on this machine, for development.

CPU seconds rather than wall, medians rather than means, and what is compared runs in turns, so that
a noisy machine disturbs all of it alike.

`render` is the verb `bench render`; `render_rounds` is its child process, `subject` the renderer
that it calls, and `stopwatch` tells the stages apart.

`worker` is the verb `bench worker`; `rig` holds broker, GCS server and workers, `latency` stands
before the GCS server, `pace` measures throughput, `moments` single events, `worker_shown` shows it.

Both use `photos` (the originals), `facts` (the report's head), `figures` (arithmetic), `chart`, and
`report`, which prints and writes. Begin with `render`.
"""
