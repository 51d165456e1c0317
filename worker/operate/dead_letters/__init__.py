"""`photo-worker dead-letters`: list, show, replay, purge.

Begin with `verbs`. `letterbox` pulls and holds the messages of a dead-letter subscription (`ledger`
lists them), `views` prints them, `forecast` predicts the result of a replay, `replay` publishes
them again, `canary` watches the first replayed letters, `archive` keeps letters in a file.
"""
