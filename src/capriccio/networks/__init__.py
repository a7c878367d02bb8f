"""The two networks, built from :mod:`capriccio.config`; they know no files, no logging and no devices."""
