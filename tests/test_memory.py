"""How much memory there is."""

import pytest

from fmedge import memory
from fmedge.cgroup import GroupLimits

MB = 1 << 20


@pytest.mark.parametrize("left", [58 * MB, 0])
def test_a_container_limits_what_is_free(monkeypatch, left):
    monkeypatch.setattr(memory, "group_limits", lambda: GroupLimits(memory_bytes=128 * MB, memory_left_bytes=left))
    assert memory.available_bytes() == left
    assert memory.total_bytes() == 128 * MB


def test_without_a_limit_the_machine_counts(monkeypatch):
    monkeypatch.setattr(memory, "group_limits", GroupLimits)
    assert memory.available_bytes() == memory._free()
    assert memory.total_bytes() == memory._meminfo("MemTotal")
