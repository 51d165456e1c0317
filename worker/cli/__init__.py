"""The command line: one module for each verb or two. It parses flags, and makes one call.

May import every other room, but loads it only when the verb runs. Begin with `main`; `flags` has
what verbs share.
"""
