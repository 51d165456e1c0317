"""`photo-worker bench`: measured runs on this machine, for development.

Figures are CPU seconds and medians. Compared runs take turns, so that a noisy machine disturbs all
of them alike.

`render` is the verb `bench render`; `render_rounds` is its child process, `subject` the renderer
that it calls, and `stopwatch` measures the stages.

`worker` is the verb `bench worker`; `rig` has the broker, GCS server and workers, `latency` delays
the GCS server, `pace` measures throughput, `moments` single events, `worker_shown` the tables.

Both use `photos` (the originals), `facts` (the report's head), `figures` (arithmetic), `chart`, and
`report`, which prints and writes. Begin with `render`.
"""
