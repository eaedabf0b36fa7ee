"""From an artifact to a session on some hardware."""

from fmedge.runtime.backends import BACKENDS, Backend, Provider, open_session
from fmedge.runtime.session import Placement, Session, describe_placement

__all__ = ["BACKENDS", "Backend", "Placement", "Provider", "Session", "describe_placement", "open_session"]
