"""`photo-worker backfill` publishes an event for each original whose photo is missing or stale.

Begin with `run`, the verb. `inventory` lists the originals, `pages` looks at a thousand at a time,
`comparison` decides about each, `recipes` warns of photos that other settings made, `publishing`
sends the events, `report` counts. `remaining` estimates the time left, `estimate` the cost of the
rendering (in a dry run), and `following` waits for outcomes.
"""
