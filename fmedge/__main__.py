"""``python -m fmedge``."""

import sys

from fmedge.cli import main

sys.exit(main())
