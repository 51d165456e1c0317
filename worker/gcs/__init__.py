"""Google Cloud Storage. Its SDK and its exceptions stay in this room.

`store` implements the port that handlers use, `transfers` moves the bytes of objects, `retry` sends
a request until the service answers, `patience` holds the time limits. May import `photo` and
`errors`. Begin with `store`.
"""
