"""Features of many images: a data set on disk that grows by whole shards, and has a row for every input.

:mod:`fmedge.bulk.inputs` says what the images are, :mod:`fmedge.bulk.pooling` how maps become vectors,
:mod:`fmedge.bulk.dataset` what lies on disk, :mod:`fmedge.bulk.extraction` how shards are computed and committed, and
:mod:`fmedge.bulk.checking` how a data set is described, verified and merged. docs/bulk.md is for users.
"""
