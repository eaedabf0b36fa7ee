"""Times sessions, each in a process of its own, and compares what was measured.

:mod:`fmedge.bench.matrix` says what is measured, :mod:`fmedge.bench.scheduler` lets :mod:`fmedge.bench.worker`
processes take turns, :mod:`fmedge.bench.compare` holds one report against another.
"""
