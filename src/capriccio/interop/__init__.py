"""Other people's tensor names and files."""
