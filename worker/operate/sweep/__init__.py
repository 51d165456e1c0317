"""`photo-worker sweep` and `verify`: look at every photo in the renditions bucket.

`run` is both verbs. `survey` lists the bucket and cuts the listing into photos, `leftovers` removes
what crashes left behind one photo, `verify` checks one manifest, `report` counts. Begin with `run`.
"""
