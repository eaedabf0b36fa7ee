"""How a model is run: on which engine and device, with how many threads, on photos of which size."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Math = Literal["fp32", "bf16"]
"""Arithmetic of a float model: ``fp32``, or ``bf16``, which keeps 8 of float32's 24 significant bits."""


@dataclass(frozen=True, slots=True)
class RunOptions:
    """The choices of a run. The defaults are the first installed engine, the CPU, every core, float32.

    Attributes:
        backend: Name of the engine; None takes the first of the table that is installed and fits the rest.
        device: ``cpu``, ``gpu`` (the best that is there) or a device by name, such as ``cuda`` or ``vulkan``.
            The model runs there as a whole, or not at all.
        threads: CPU threads that compute; None takes one per core that may be used.
        cpus: Numbers of the cores that these threads are bound to; None leaves it to the system. An engine keeps its
            threads where they first ran: bind all sessions of a process to the same cores.
        math: Arithmetic of a float model.
        allow_fallback: Whether nodes, or the model as a whole, may run on the CPU where the device does not take
            them; the session then says so.
        spinning: Whether idle threads wait awake, where the engine leaves the choice: faster between runs
            that follow each other, slower where other work goes on beside.
        once: Whether the session runs but once, so that loading may cost no more than it saves then. The values
            then differ from those of other sessions in their last digits.
        max_pixels: Most pixels of a photo that is decoded; None takes :data:`fmedge.image_bounds.MAX_PIXELS`.
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
