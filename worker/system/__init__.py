"""The machine: CPUs, memory, processes, folders, temporary files, and the children's sandbox.

The package may import `photo` and `errors`. Begin with `machine`, `walk`, or `sandbox`.
"""
