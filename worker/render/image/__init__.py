"""Pictures: from an original's bytes to its renditions. Runs in child processes only.

Begin with `imaging`, which makes the ladder of one original. `decode` turns its bytes (`opened`)
into `pixels`, upright and sRGB, by `vips`, `heif`, `drawing` and `colour`; `resize` makes each rung
from a larger one; `overlay` lays a watermark or a background on it; `webp` and `png` encode. `aim`
encodes by targets, and `likeness` scores what has become of the picture. May import `formats`,
`photo` and `errors`.
"""
