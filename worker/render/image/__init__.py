"""Pictures: from an original's bytes to its renditions. Runs in child processes only.

`imaging` makes the ladder of one original. `decode` turns its bytes (`opened`) into `pixels`,
upright and sRGB, by `vips`, `heif`, `drawing` and `colour`; `resize` makes each rung from a larger
one; `overlay` lays a watermark or a background on it; `webp` and `png` encode, and `aim` encodes by
targets, with `likeness` to see what has become of the picture.
"""
