"""Both ends of the connection to a worker process.

A request is a line of JSON on its stdin, and the answer is one on its stdout. An error is also an answer, with
``error`` and ``exit_code``.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from threading import Timer
from typing import Any

from fmedge.errors import FmedgeError, LimitExceeded
from fmedge.system import children
from fmedge.system.address_space import is_out_of_files, shortage


class WorkerFailed(Exception):
    """A worker could not serve a request, and can no longer be used.

    Attributes:
        exit_code: The exit code of the underlying error.
    """

    def __init__(self, reason: str, exit_code: int = LimitExceeded.exit_code) -> None:
        super().__init__(reason)
        self.exit_code = exit_code


class Worker:
    """A process that runs one of our modules and answers requests. It ends when it is stopped, or when we end."""

    def __init__(self, module: str, environment: Mapping[str, str] | None = None) -> None:
        try:
            self._process = children.start(
                children.module_command(module),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,  # engines print there
                text=True,
                env={**os.environ, "PYTHONPATH": children.module_path(), **(environment or {})},
                start_new_session=True,  # only we get Ctrl-C: what was measured is fetched first
            )
        except LimitExceeded as error:
            raise WorkerFailed(error.in_full()) from error

    def ask(self, timeout_s: float, **order: object) -> dict[str, Any]:
        """Send a request and wait for the answer.

        Args:
            timeout_s: Longest time allowed, in seconds; after that the worker is ended.
            order: The request, in values that JSON can represent.

        Raises:
            WorkerFailed: The worker reports an error, has ended, or took too long.
        """
        process = self._process
        if process.stdin is None or process.stdout is None:
            raise WorkerFailed("the worker has no pipes")
        late = Timer(timeout_s, process.kill)
        late.daemon = True
        late.start()
        try:
            process.stdin.write(json.dumps(order) + "\n")
            process.stdin.flush()
            line = process.stdout.readline()
        except OSError:  # the worker has ended
            line = ""
        finally:
            timely = late.is_alive()
            late.cancel()
        if not line.endswith("\n"):
            process.kill()
            raise WorkerFailed(self._ending() if timely else f"did not answer within {timeout_s:g} s (--timeout)")
        answer: dict[str, Any] = json.loads(line)
        if "error" in answer:
            raise WorkerFailed(str(answer["error"]), int(answer["exit_code"]))
        return answer

    def _ending(self) -> str:
        code = self._process.wait()
        if code == -9:
            return "the process was killed (signal 9), probably for lack of memory"
        return f"the process ended by signal {-code}" if code < 0 else f"the process ended with code {code}"

    def stop(self) -> None:
        """End the process, whatever it is doing. May be called twice."""
        children.end(self._process)
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                try:
                    pipe.close()
                except OSError:  # a request that it ended before reading
                    continue


def serve(orders: Mapping[str, Callable[..., dict[str, Any]]]) -> None:
    """Answer requests from stdin until it ends or a request fails, then end the process.

    Args:
        orders: The function for each value of ``do``; the rest of a request are its arguments.
    """
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # engines print to stdout
    for line in sys.stdin:
        order = json.loads(line)
        try:
            answer = orders[order.pop("do")](**order)
        except FmedgeError as error:
            answer = {"error": error.in_full(), "exit_code": error.exit_code}
        except MemoryError:
            answer = {"error": "not enough memory", "exit_code": LimitExceeded.exit_code}
        except Exception as error:  # an answer, not a traceback: the other workers' figures must survive
            if is_out_of_files(error):
                answer = {"error": shortage(error).in_full(), "exit_code": LimitExceeded.exit_code}
            else:
                answer = {"error": f"{type(error).__name__}: {error}"[:200], "exit_code": 1}
        answers.write(json.dumps(answer) + "\n")
        answers.flush()
        if "error" in answer:
            break
    os._exit(0)  # an engine that crashes on the way out has done its work
