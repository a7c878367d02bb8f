"""Numbers about a generator, each with the protocol it was measured by."""
