"""The library's logger, ``fmedge``: what is worth knowing and no error. It says nothing until a program listens."""

import logging

log = logging.getLogger("fmedge")
log.addHandler(logging.NullHandler())
