"""The machine: CPUs, memory, processes, folders, temporary files, and the children's sandbox.

May import `photo` and `errors`. Begin with `machine`, `walk`, or `sandbox`.
"""
