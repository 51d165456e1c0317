"""`photo-worker run`: the process that pulls events until it is drained.

This room owns the life of that process: start, health over HTTP, liveness, preemption, drain, exit
code.
`build` constructs the objects that run, `daemon` starts, watches and drains them.
May import `wiring`, `settings`, and the rooms below them. Begin with `daemon`.
"""
