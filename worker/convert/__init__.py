"""`photo-worker convert` turns a folder of originals into a folder of renditions, without a cloud.

The package may import `settings`, `render`, `console` and the rooms below them. Begin with `run`,
which has the whole sequence, then `session`, which has the threads. A picture passes in this order:

    originals   finds the picture, by its name or its first bytes
    intake      copies it to where a child process may read it, and hashes it
    picture     renders it in `engine`'s children, or finds that it is current
    placing     moves its renditions to their `names` in the `output`
    state       keeps, across runs, which files it has and from which bytes they were made
    tally       counts it; `summary` and `page` (`drawings`, `previews`) report the counts

`outcomes` has the values that pass between them, `options` the command line's options; `pace` and
`memory` watch a run. If a run is killed, the same command makes the same tree in the end: a
rename gives each rendition its name, after the state on disk has named it.
"""
