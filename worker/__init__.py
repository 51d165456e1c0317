"""A Pub/Sub consumer worker that turns photographs into WebP ladders."""

__version__ = "0.1.0"
