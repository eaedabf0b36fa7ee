"""Features of many images: a data set that grows by whole shards, and has a row for every input.

:mod:`fmedge.bulk.finding` says what the images are, :mod:`fmedge.bulk.rows` what is computed of each,
:mod:`fmedge.bulk.dataset` how a shard is committed, :mod:`fmedge.bulk.extraction` which are missing, and
:mod:`fmedge.bulk.checking` how a data set is described, verified and merged. docs/bulk.md is for users.
"""
