"""The domain: what events, photos, manifests and recipes are. Pure: no I/O and no clock.

May import `errors`. Begin with `events`, then `manifest`, then `ports`.
"""
