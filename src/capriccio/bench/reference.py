"""The networks that machines are compared by. Without torch, so that a help text costs nothing."""

REFERENCE = {"channel_base": 4096, "channel_max": 256, "mapping_depth": 2, "batch": 16}
"""The networks, at 64×64, whose figures docs/benchmarks.md has and whose speed the doctor judges a machine by."""
