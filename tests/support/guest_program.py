"""A program that calls the library and photographs its process before, during and after: it prints what changed.

Run by ``test_guest.py``: ``guest_program.py PHOTO FOLDER ENGINE``, or with ``tensorflow`` for the exports that go
through it. Photographs begin when everything is imported: what imports change is listed in docs/running.md.
"""

import gc
import json
import locale
import logging
import os
import random
import signal
import socket
import sys
import threading
import warnings
from pathlib import Path

import numpy as np

import fmedge
from fmedge.model.submodel import Format
from fmedge.runtime.backends import find_backend
from fmedge.workflow.verification import verify_artifact


def photograph():
    """What belongs to the process as a whole, under names."""
    logger = logging.root
    seen = {
        "warnings.filters": list(warnings.filters),
        "warnings.showwarning": warnings.showwarning,
        "logging.disable": logger.manager.disable,
        "logging.raiseExceptions": logging.raiseExceptions,
        "logging.root": (logger.level, list(logger.handlers), list(logger.filters)),
        "logging.lastResort": logging.lastResort,
        "os.environ": dict(os.environ),
        "locale": locale.setlocale(locale.LC_ALL),
        "random": random.getstate(),
        "numpy.random": str(np.random.get_state()),
        "numpy.errstate": np.geterr(),
        "folder": str(Path.cwd()),
        "affinity": os.sched_getaffinity(os.getpid()),
        "stack size": threading.stack_size(),
        "excepthooks": (sys.excepthook, threading.excepthook, sys.unraisablehook),
        "gc": (gc.isenabled(), gc.get_threshold(), list(gc.callbacks)),
        "interpreter": (sys.getrecursionlimit(), sys.getswitchinterval(), sys.gettrace(), sys.getprofile()),
        "streams": (sys.stdin, sys.stdout, sys.stderr),
        "umask": next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("Umask")),
        "socket timeout": socket.getdefaulttimeout(),
        "signals": [signal.getsignal(number) for number in sorted(signal.valid_signals())],
    }
    for number in range(3):
        status = os.fstat(number)
        seen[f"descriptor {number}"] = str(Path(f"/proc/self/fd/{number}").readlink()), status.st_dev, status.st_ino
    return seen


def differences(first, second):
    """Names of what is not the same in two photographs."""
    return sorted(name for name in first if first[name] != second[name])


def use(photo, models, backend, form):
    """Every call of the library, once."""
    run = fmedge.RunOptions(backend, threads=2)
    choice = fmedge.ExportOptions(form, size=(32, 32))
    artifact = fmedge.export_submodel("block1_conv2", weights="untrained", models=models, options=choice)
    verify_artifact(artifact.path)
    with fmedge.open_session(artifact, run) as session:
        session.run(np.zeros((1, 32, 32, 3), np.uint8))
    if form is not Format.TFLITE:
        fmedge.extract(photo, "block1_conv2", weights="untrained", models=models, run=run)
        for _ in fmedge.extract_many([photo] * 4, "block1_conv2", weights="untrained", models=models, run=run):
            pass


def main():
    """Look on from two threads while a third works."""
    photo, folder, name = sys.argv[1:]
    backend, form = ("litert", Format.TFLITE) if name == "tensorflow" else (name, None)
    form = form or find_backend(name).formats[0]
    use(photo, Path(folder) / "first", backend, form)  # imports
    before, found, done = photograph(), set(), threading.Event()
    looks = [0, 0]

    def look_on(number):
        while not done.wait(0.0005):
            found.update(differences(before, photograph() | {"signals": before["signals"]}))
            looks[number] += 1

    watchers = [threading.Thread(target=look_on, args=(number,)) for number in range(2)]
    workers = [
        threading.Thread(target=use, args=(photo, Path(folder) / f"models{number}", backend, form))
        for number in range(1 if name == "tensorflow" else 2)
    ]
    for thread in (*watchers, *workers):
        thread.start()
    for thread in workers:
        thread.join()
    done.set()
    for thread in watchers:
        thread.join()
    after = differences(before, photograph())
    print(json.dumps({"during": sorted(found), "after": after, "looks": min(looks)}))


if __name__ == "__main__":
    main()
