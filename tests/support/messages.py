"""What is looked at in messages."""

import re


def bare(message: str) -> str:
    """A message without what is never cut: paths, file names, addresses, hashes. The bound on length is on the rest."""
    return re.sub(r"'[^']*(?:/|\.\w+')[^']*'?|\S*/\S*|\b[0-9a-f]{32,}\b", "", message)
