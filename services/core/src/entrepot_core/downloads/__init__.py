"""Talking to upstreams: the only code that opens a connection outwards."""
