"""The machine and its processes: CPUs, memory, scratch folders, and the children's sandbox.

May import `photo` and `errors`. Begin with `machine`, or with `sandbox`.
"""
