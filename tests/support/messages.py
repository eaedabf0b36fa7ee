"""What is looked at in messages."""

import re
from collections.abc import Callable

from fmedge.errors import FmedgeError


def bare(message: str) -> str:
    """A message without what is never cut: paths, file names, addresses, hashes. The bound on length is on the rest."""
    return re.sub(r"'[^']*(?:/|\.\w+')[^']*'?|\S*/\S*|\b[0-9a-f]{32,}\b", "", message)


def says(pattern: str) -> Callable[[FmedgeError], bool]:
    """A check for ``pytest.raises``: whether what the command line would print has a match for a pattern."""

    def matches(error: FmedgeError) -> bool:
        assert re.search(pattern, error.in_full()), error.in_full()
        return True

    return matches
