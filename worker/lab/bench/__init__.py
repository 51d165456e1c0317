"""`photo-worker bench`: measured runs on this machine; production runs none of it.

CPU seconds rather than wall, medians rather than means, and what is compared runs in turns, so that
a noisy machine disturbs all of it alike. `render` and `worker` are the two stories.

`render`: `render_rounds` is the child that renders, `subject` its only contact with the renderer,
and `stopwatch` tells its stages apart.

`worker`: `rig` holds broker, GCS server and workers, `latency` stands before the GCS server, `pace`
measures throughput, `moments` single events, and `worker_shown` shows them.

Both: `photos` chooses the originals, `facts` heads the report, `figures` is the arithmetic,
`chart` draws over the axes of `scale`, `report` prints and writes.
"""
