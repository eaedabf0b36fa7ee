"""Work started early is done once, and its result collected where it is needed."""

import threading

import pytest

from fmedge.system import prefetch


def test_what_was_started_is_done_once_in_another_thread():
    threads = []

    def work(word, *, end):
        threads.append(threading.current_thread())
        return word.upper() + end

    collect = prefetch.start(work, "a", end="!")
    assert [collect(), collect()] == ["A!", "A!"]
    (thread,) = threads
    assert thread is not threading.current_thread()


def test_an_error_comes_where_the_result_is_asked_for():
    def fail():
        raise ValueError("no")

    collect = prefetch.start(fail)
    with pytest.raises(ValueError, match="no"):
        collect()


def test_nothing_is_started_where_the_limit_is_low(monkeypatch):
    monkeypatch.setattr(prefetch, "is_thrifty", lambda: True)
    threads = []
    collect = prefetch.start(lambda: threads.append(threading.current_thread()))
    assert threads == []
    collect()
    assert threads == [threading.current_thread()]
