"""`photo-worker backfill`: an event for each original whose photo is missing or stale.

`run` is the verb, `source` where its originals come from, `inventory` lists them, `pages` looks at
a thousand at a time, `comparison` says what each comes to, `recipes` warns of photos that other
settings made, `publishing` sends the events, `report` is what has come of it, `place` how far it
came. `headway` tells how long the rest takes, `estimate` and `sampling` what a dry run foretells,
`following` and `pending` wait for outcomes. A running worker uses none of them.
"""
