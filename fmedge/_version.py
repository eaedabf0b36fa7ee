"""The version, where every room may read it without importing the face of the package."""

__version__ = "0.1.0"
