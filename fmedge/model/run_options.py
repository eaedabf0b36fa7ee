"""How to run a model: on which engine and device, with how many threads, on photos of which size."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

from fmedge.errors import UsageError
from fmedge.system.choices import one_of, require_switch, require_whole

Math = Literal["fp32", "bf16"]
"""Arithmetic of a float model: ``fp32``, or ``bf16``, which keeps 8 of float32's 24 significant bits."""


@dataclass(frozen=True, slots=True)
class RunOptions:
    """The choices of a run. The defaults are the first installed engine, the CPU, every core, float32.

    Attributes:
        backend: Name of the engine; None takes the first of the table that is installed and fits the other options.
        device: ``cpu``, ``gpu`` (the best one available) or a device by name, such as ``cuda`` or ``vulkan``. The model
            runs there as a whole, or not at all.
        threads: CPU threads that compute. None takes one per usable core, but no more than a container's CPU quota
            (rounded up), and no more than OMP_NUM_THREADS where it is set.
        cpus: Numbers of the cores that these threads are bound to; None leaves it to the system. An engine keeps its
            threads where they first ran: bind all sessions of a process to the same cores.
        math: Arithmetic of a float model.
        allow_fallback: Whether nodes, or the whole model, may run on the CPU where the device does not support them;
            the session then reports it.
        spinning: Whether idle threads wait actively, where the engine offers the choice: faster for runs that follow
            each other closely, slower when other work runs at the same time.
        once: Whether the session runs only once, so that loading may cost no more than it saves. The values then differ
            from those of other sessions in their last digits.
        max_pixels: Most pixels of a photo that is decoded; None takes :data:`fmedge.data.image_bounds.DEFAULT_PIXELS`.

    Raises:
        UsageError: A value is not allowed; whether engine and device exist is checked later.
    """

    backend: str | None = None
    device: str = "cpu"
    threads: int | None = None
    cpus: tuple[int, ...] | None = None
    math: Math = "fp32"
    allow_fallback: bool = False
    spinning: bool = True
    once: bool = False
    max_pixels: int | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "math", one_of("math", self.math, get_args(Math)))
        for name in ("backend", "device"):
            value: object = getattr(self, name)
            if not isinstance(value, str) and not (value is None and name == "backend"):
                raise UsageError(f"{name}: got {value!r}. Allowed: a name.", hint="All: fmedge doctor.")
        for name in ("allow_fallback", "spinning", "once"):
            require_switch(name, getattr(self, name))
        require_whole("threads", self.threads, unset="one per core")
        require_whole("max_pixels", self.max_pixels, unset="the usual limit")
        if self.cpus is not None:
            if isinstance(self.cpus, str) or not hasattr(self.cpus, "__iter__"):
                raise UsageError(f"cpus: got {self.cpus!r}. Allowed: a tuple of core numbers, such as (0, 1).")
            for core in self.cpus:
                require_whole("cpus", core)
            object.__setattr__(self, "cpus", tuple(self.cpus))
