"""One adapter (a backend) for each engine.

Each imports its engine, and `runtime.session`.
"""
