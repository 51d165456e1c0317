"""Development on one machine: the `local` and `bench` verbs and the embedded broker.

`worker_process` runs a real worker for the verbs and for the end-to-end tests; `guard` ends the
worker, and every server, with its parent. The package may import every room except `cli`. The verb
`run` and its children do not load it. Begin with `local/session`.
"""
