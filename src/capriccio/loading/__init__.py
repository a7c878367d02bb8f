"""What ``capriccio.load`` does: from a file, run folder or name to a model one can ask for pictures."""
