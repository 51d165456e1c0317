"""Development on one machine: the `local` and `bench` verbs and the embedded broker.

`worker_process` runs a real worker for them and for the end-to-end tests; `guard` ends it, and
every server, with its parent. May import every room except `cli`. `run` and its children load none
of it. Begin with `local/session`.
"""
