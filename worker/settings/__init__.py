"""Settings: read the environment's variables as typed values, and report all problems at once.

May import `render.capacity`, `render.formats`, `system`, `photo` and `errors`. Begin with
`settings`; `values` reads what variables mean, `variables` names them.
"""
