"""A Pub/Sub consumer worker that turns photographs into WebP ladders.

Each folder is a room: its `__init__` says what it owns and where to begin. A room imports only from
rooms below it (`tool.importlinter` in `pyproject.toml`); docs/architecture.md has the map.
"""

__version__ = "0.1.0"
