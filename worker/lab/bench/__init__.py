"""`photo-worker bench`: measured runs on this machine; production runs none of it.

CPU seconds rather than wall, medians rather than means, and what is compared runs in turns, so that
a noisy machine disturbs all of it alike. `render`, `worker` and `rivals` are the three stories.

`render`: `render_rounds` is the child that renders, `subject` its only contact with the renderer,
and `stopwatch` tells its stages apart.

`worker`: `rig` holds broker, GCS server and workers, `latency` stands before the GCS server, `pace`
measures throughput, `moments` single events, and `worker_shown` shows them.

`rivals`: `contenders` finds them, `contender` and `sharp_clone.cjs` are their programs, `ladders`
is where their renditions lie, `quality` and `scores` see what is left of the pictures, and
`rivals_shown` shows it all.

All three: `photos` chooses the originals, `facts` heads the report, `figures` is the arithmetic,
`chart` draws over the axes of `scale`, `report` prints and writes.
"""
