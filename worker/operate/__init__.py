"""The operator's verbs: register, deregister, plan, backfill, sweep, verify, dead letters.

May import `wiring`, `settings`, and the rooms below them. A running worker does not load this room.
Begin with `register`, the shortest verb; each larger verb has a folder. The verbs share `publish`
(events to the topic), `sources` (what a command line names) and `checkpoint` (where to go on).
"""
