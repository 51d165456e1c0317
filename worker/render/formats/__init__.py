"""Formats: what an original's bytes say before a decoder sees them. Pure; every count is checked.

Begin with `formats`, which recognises them by content, and `skeleton`, which walks the parts of a
file. It finds damage, bombs, and kinds that the decoders here cannot read, with `jpeg`, `boxes`
(AVIF and HEIC), `tiff` and `tiff_layout`. `svg` computes what a drawing would cost, with
`svg_size`, `svg_styles` and `svg_budget`. May import `photo` and `errors`.
"""
