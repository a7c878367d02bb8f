"""From anybody's pictures to a training archive: sources, decoding, crops, flaws, duplicates, the report."""
