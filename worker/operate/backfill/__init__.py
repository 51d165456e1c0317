"""`photo-worker backfill`: an event for each original whose photo is missing or stale.

Begin with `run`, the verb. `inventory` lists the originals, `pages` looks at a thousand at a time,
`comparison` decides about each, `recipes` warns of photos that other settings made, `publishing`
sends the events, `report` counts. `remaining` tells how long the rest takes, `estimate` what a dry
run foretells, `following` waits for outcomes.
"""
