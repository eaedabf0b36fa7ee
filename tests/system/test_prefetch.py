"""Work started early is collected once, and never by a later run."""

import pytest

from fmedge.cli.main import main
from fmedge.system import prefetch


def test_what_was_begun_is_taken_once():
    calls = []

    def work(word):
        calls.append(word)
        return word.upper()

    prefetch.begin(work, "a")
    assert [prefetch.take(work, "a"), prefetch.take(work, "a"), prefetch.take(work, "b")] == ["A", "A", "B"]
    assert calls == ["a", "a", "b"]


def test_an_error_comes_where_the_result_is_asked_for():
    def fail():
        raise ValueError("no")

    prefetch.begin(fail)
    with pytest.raises(ValueError, match="no"):
        prefetch.take(fail)


def test_a_run_does_not_get_what_an_earlier_one_left(block1, picture, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "photos").mkdir()
    words = ["--weights", "untrained", "--models", str(block1.path.parent), "--untuned"]
    assert main(["run", "photos/a.png", *words]) == 3  # no such photo: its decoding was started and never collected
    assert all(begun.exception(timeout=60) for begun in prefetch._begun.values())
    for name in ("a.png", "b.png"):
        (tmp_path / "photos" / name).write_bytes(picture.read_bytes())
    assert main(["run", "photos", *words]) == 0, capsys.readouterr().err
