"""Whole jobs: find or make an artifact, run images, write the requested files.

Imports all rooms but `bench` and `cli`.
"""
