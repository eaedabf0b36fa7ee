"""Turn feature maps and reports into pages and pictures.

Imports only :mod:`fmedge.data`, :mod:`fmedge.model`, :mod:`fmedge.system` and :mod:`fmedge.errors`; neither ``export``
nor ``runtime``.
"""
