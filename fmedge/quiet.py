"""Silence for libraries that talk on stderr, where a user wants one line of ours."""

from __future__ import annotations

import contextlib
import logging
import os
import sys
import tempfile
import warnings
from collections.abc import Generator

from fmedge.errors import FmedgeError


@contextlib.contextmanager
def quietly() -> Generator[None]:
    """Keep the block from writing to stderr, C++ code included; Python's warnings are off too.

    What was kept back is written out after all when the block raises an error that is a bug of ours.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    with tempfile.TemporaryFile() as kept:
        try:
            with _stderr_to(kept.fileno()), _without_warnings():
                yield
        except (FmedgeError, ImportError):
            raise
        except Exception:  # stderr is itself again by now
            kept.seek(0)
            sys.stderr.write(kept.read().decode(errors="replace"))
            raise


@contextlib.contextmanager
def _without_warnings() -> Generator[None]:
    level = logging.root.manager.disable
    logging.disable(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(level)


@contextlib.contextmanager
def _stderr_to(descriptor: int) -> Generator[None]:
    """Point file descriptor 2 elsewhere; Python's ``sys.stderr`` goes along unless it was replaced."""
    sys.stderr.flush()
    saved = os.dup(2)
    os.dup2(descriptor, 2)
    try:
        yield
    finally:
        sys.stderr.flush()
        os.dup2(saved, 2)
        os.close(saved)
