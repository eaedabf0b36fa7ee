"""``python -m fmedge``, and the ``fmedge`` command: what comes before anything is imported."""

from __future__ import annotations

import gc
import os
import signal
from types import FrameType
from typing import NoReturn


def entry() -> NoReturn:
    """Run the command; a signal that comes before it is loaded, or after its end, has nothing to clear up."""
    for number in (signal.SIGINT, signal.SIGTERM):
        if signal.getsignal(number) is not signal.SIG_IGN:  # as in a shell's background: leave it so
            signal.signal(number, _leave)
    gc.set_threshold(20_000)  # starting makes many objects and no garbage: 2 % of a short run went into looking for it
    from fmedge.cli import entry as run

    run()


def _leave(number: int, frame: FrameType | None) -> None:
    os._exit(128 + number)


if __name__ == "__main__":
    entry()
