"""`photo-worker local`: everything on one machine, for development; production runs none of it.

`session` tells the story; `servers` finds a broker and a GCS server; `watch` follows the outcomes;
`gallery` is the page; `samples` makes photos where none are given.
"""
