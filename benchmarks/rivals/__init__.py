"""The same photos and rungs by others, in one run: CPU seconds, bytes, and quality.

`contenders` finds who can take part, `contender` and `sharp_clone.cjs` are their programs,
`ladders` knows the folders of their renditions, `quality` and `scores` judge the pictures, and
`shown` makes the tables. Begin with `measure`.
"""
