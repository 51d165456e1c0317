"""Measurements that developers of the worker run from a checkout; wheel and image leave them out.

`rivals` compares the renderer with sharp, Pillow and libvips' own command, and `convert` the verb
with scripts of its users' making. `memory`, `quality` and `targets` measure the renderer,
`dead_letters` the verb. Each is a program: `python -m benchmarks.rivals --help`. Their figures
stand in docs/performance.md.

May import every room of `worker`. Begin with `rivals/measure`.
"""
