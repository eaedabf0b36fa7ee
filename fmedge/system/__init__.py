"""What fmedge asks of the machine: files, memory, processes, the processor.

Imports only :mod:`fmedge.errors`.
"""
