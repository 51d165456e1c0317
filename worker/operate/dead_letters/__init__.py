"""`photo-worker dead-letters`: list, show, replay, purge.

Begin with `verbs`. `letterbox` pulls and holds the messages of a dead-letter subscription (`ledger`
remembers which), `views` prints them, `forecast` says what a replay would do, `replay` publishes
them again, `canary` watches the first ones, `archive` keeps them in a file.
"""
