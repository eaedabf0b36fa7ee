"""The backends: one adapter module for each engine.

Each imports its engine and `runtime.session`.
"""
