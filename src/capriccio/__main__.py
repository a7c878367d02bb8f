"""``python -m capriccio``: the command line without the installed script."""

import sys

from capriccio.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
