"""Development on one machine: the `local` and `bench` verbs and the embedded broker.

May import every room except `cli`. `run` and its children load none of it. Begin with
`local/session`.
"""
