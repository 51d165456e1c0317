"""The operator's verbs: publish events, plan a machine, backfill, sweep, verify, dead letters.

May import `wiring`, `settings`, and the rooms below them. A running worker loads none of it.
Begin with `publish`, the shortest; each larger verb has a folder.
"""
