"""The embedded broker: a small Pub/Sub server in memory, for development and tests only.

`broker` and `subscription` are the state machine (`records` has its values), `shared` has the lock
and the timer thread, `wire` and `rpc` speak `google.pubsub.v1`, `server` starts and stops it all.
"""
