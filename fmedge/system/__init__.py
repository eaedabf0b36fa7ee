"""The machine underneath: files, memory, processes, the processor.

Imports the errors alone.
"""
