"""A procedural landscape painter: free of anybody's rights, seeded, and quick enough to make a data set on the spot.

Its pictures are no substitute for photographs: they are for the demo, the tests and the documentation.
"""

from capriccio.data.landscapes.archive import synthesize
from capriccio.data.landscapes.painter import paint

__all__ = ["paint", "synthesize"]
