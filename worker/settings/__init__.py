"""Settings: the environment's variables become typed values, and all problems are told at once.

May import `render.capacity`, `render.formats`, `system`, `photo` and `errors`. Begin with
`settings`; `values` reads what variables mean, `variables` names them.
"""
