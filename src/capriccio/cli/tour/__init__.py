"""The stops of ``capriccio demo``; each does what a command does and returns its section of the report."""
