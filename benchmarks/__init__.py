"""Measurements that developers of the worker run from a checkout; wheel and image leave them out.

`rivals` compares the renderer with sharp, Pillow and libvips' own command, and `convert` the verb
with scripts of its users' making. `memory`, `quality` and `targets` measure the renderer,
`dead_letters` those verbs. Each is a program, such as `python -m benchmarks.rivals --help`; their
figures stand in docs/performance.md. `pictures` is what they compare with.

May import every room of `worker`. Begin with `rivals/measure`.
"""
