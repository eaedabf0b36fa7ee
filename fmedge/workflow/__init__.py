"""Whole jobs: find or make an artifact, run images, write what was asked for.

Imports all rooms but `bench` and `cli`.
"""
