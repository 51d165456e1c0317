"""The command line: one module a verb. A module here parses flags and calls the room that works.

May import every other room. Begin with `main`.
"""
