"""`photo-worker local`: everything on one machine, for development.

Begin with `session`. `servers` finds a broker (`emulator` is Google's) and a `gcs_server`, both of
which may be a `child_server`; `resources` fills them. `watch` follows the outcomes, `report` and
`gallery` show them (`changes` finds what is new for the page), `samples` makes photos to try.
"""
