"""The command line: each module has one or two verbs; a verb parses flags and makes one call.

The package may import every other room, but loads it only when the verb runs. Begin with `main`;
`flags` has the code that verbs share.
"""
