"""``python -m capriccio``: the command line where its script is not on the path."""

import sys

from capriccio.cli.main import main

sys.exit(main())
