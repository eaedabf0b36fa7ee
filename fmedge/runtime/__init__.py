"""From an artifact to a session on some hardware."""

from fmedge.runtime.backends import BACKENDS, Backend, open_session
from fmedge.runtime.session import Session

__all__ = ["BACKENDS", "Backend", "Session", "open_session"]
