"""What is printed can always be shown, on both streams, and JSON stays JSON."""

import json

import pytest

from fmedge.cli.console import ProgressLine, emit, print_json, print_table, say

STEERING = ["\x1b[31m", "\x1b]0;title\x07", "\x9b2J", "\x7f", "\r", "\u202e", "\u2066", "\u2028", "\x00", "\ud800"]


@pytest.mark.parametrize("text", STEERING)
def test_nothing_that_steers_a_terminal_reaches_it(capfdbinary, text):
    emit(f"a{text}b")
    print_table(["name"], [[f"a{text}b\nc"]])
    say(f"a{text}b")
    ProgressLine()(f"a{text}b", 1.0)
    said = capfdbinary.readouterr()
    for stream in (said.out, said.err):
        lines = stream.decode().split("\n")
        assert all(line.isprintable() for line in lines)
        assert any(line.startswith("a?") for line in lines)
    assert b"b?c\n" in said.out


@pytest.mark.parametrize("text", [*STEERING, "\U000e0001", "Größe 大きさ 🙂"])
def test_json_holds_every_text_and_shows_none_that_steers(capfdbinary, text):
    print_json({"a": text, text: [1, None]})
    out = capfdbinary.readouterr().out.decode()
    assert json.loads(out) == {"a": text, text: [1, None]}
    assert all(line.isprintable() for line in out.split("\n"))


def test_letters_of_every_script_are_printed_as_they_are(capfd):
    emit("Größe 大きさ 🙂 مرحبا")
    assert capfd.readouterr().out == "Größe 大きさ 🙂 مرحبا\n"


def test_a_file_name_that_is_no_utf8_leaves_with_its_bytes(capfdbinary):
    emit(b"caf\xe9.html".decode(errors="surrogateescape"))
    assert capfdbinary.readouterr().out == b"caf\xe9.html\n"
