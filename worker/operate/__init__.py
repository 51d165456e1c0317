"""The operator's verbs: register, deregister, plan, backfill, sweep, verify, dead letters.

The package may import `wiring`, `settings`, and the rooms below them. A running worker does not
load it. Begin with `register`, the shortest verb; each larger verb has a folder. The verbs share
`publish` (events to the topic), `sources` (the originals that a command line names) and
`checkpoint` (the progress of a run).
"""
