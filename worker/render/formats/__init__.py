"""Anatomy: what an original's bytes say before a decoder sees them. Pure, and never trusting.

`formats` recognises them by content; `skeleton` walks the parts of a file and tells damage, bombs
and kinds that no decoder here reads right, by `jpeg`, `boxes` (AVIF and HEIC), `tiff` and
`tiff_layout`; `svg` says what a drawing would cost, by `svg_size`, `svg_styles` and `svg_budget`.
"""
