"""`photo-worker convert`: a folder of originals to a folder of renditions, without any cloud.

`run` tells the story, with the threads of `session` and the child processes of `engine`. `walk`
finds the originals, one by one and in order, by what `kinds` tells of a name; `intake` copies one
to where a child may read it; `picture` renders it; `placing` brings renditions to their `names` in
the output, which `output` holds; `state` knows what lies there already and what it was made from.
`tally` counts, `memory` watches, `summary` and `page` (with `drawings` and `previews`) tell of it.
`outcomes` are the values that pass between them, `options` what was asked for.

Whatever is killed at any moment, the same command again ends in the same tree: a rendition appears
under its name whole, by a rename, once the state says on disk that it may.
"""
