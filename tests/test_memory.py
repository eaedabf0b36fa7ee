"""How much memory there is."""

import pytest

from fmedge import memory

MB = 1 << 20


@pytest.fixture
def container(tmp_path, monkeypatch):
    """A folder in place of the one where a container finds its limit."""
    monkeypatch.setattr(memory, "_CGROUPS", ((tmp_path, "memory.max", "memory.current"),))
    (tmp_path / "memory.current").write_text(f"{100 * MB}\n")
    (tmp_path / "memory.stat").write_text(f"anon {60 * MB}\ninactive_file {30 * MB}\n")
    return tmp_path


def test_a_container_limits_what_is_free(container):
    (container / "memory.max").write_text(f"{128 * MB}\n")
    assert memory.available_bytes() == (128 - 100 + 30) * MB


def test_a_container_that_has_used_all_has_none(container):
    (container / "memory.max").write_text(f"{50 * MB}\n")
    assert memory.available_bytes() == 0


@pytest.mark.parametrize("content", ["max\n", "", None])
def test_no_limit_is_none(container, content):
    if content is not None:
        (container / "memory.max").write_text(content)
    assert memory._granted() is None
