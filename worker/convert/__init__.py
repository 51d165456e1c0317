"""`photo-worker convert`: a folder of originals to a folder of renditions, without any cloud.

May import `settings`, `render`, `console` and the rooms below them. Begin with `run`, which tells
the story, then `session`, which has the threads. In the order of a picture:

    originals   finds it, by its name or its first bytes
    intake      copies it to where a child process may read it, and hashes it
    picture     renders it in `engine`'s children, or finds that it is current
    placing     brings its renditions to their `names` in the `output`
    state       knows, across runs, what lies there and what it was made from
    tally       counts; `summary` and `page` (`drawings`, `previews`) tell of it

`outcomes` are the values that pass between them, `options` what was asked for, `pace` and `memory`
watch a run. Whenever a run is killed, the same command again ends in the same tree: a rendition
appears under its name whole, by a rename, once the state says on disk that it may.
"""
