"""`photo-worker local`: everything on one machine, for development; production runs none of it.

`session` tells the story. `servers` finds a broker (`emulator` is Google's) and a `gcs_server`,
`resources` fills them. `watch` follows the outcomes, `report` and `gallery` show them, `samples`
makes photos where none are given.
"""
