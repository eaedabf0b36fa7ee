"""From an artifact to a session on some hardware."""

from fmedge.runtime.backends import BACKENDS, Backend, Provider
from fmedge.runtime.opening import choose_backend, default_format, load_engine_early, open_session
from fmedge.runtime.session import Placement, Session, describe_placement

__all__ = [
    "BACKENDS",
    "Backend",
    "Placement",
    "Provider",
    "Session",
    "choose_backend",
    "default_format",
    "describe_placement",
    "load_engine_early",
    "open_session",
]
