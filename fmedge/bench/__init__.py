"""Time sessions, each in a separate process, and compare the reports.

:mod:`fmedge.bench.matrix` says what is measured, :mod:`fmedge.bench.scheduler` lets :mod:`fmedge.bench.worker`
processes take turns, and :mod:`fmedge.bench.compare` compares two reports.
"""
