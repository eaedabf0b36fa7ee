"""Messages: one line, of bounded length, without what steers a terminal."""

import ast
import string

import pytest
from conftest import ROOT

from fmedge import errors
from fmedge.errors import MESSAGE_LENGTH, FmedgeError, ImageError, one_line

KINDS = {name for name, value in vars(errors).items() if isinstance(value, type) and issubclass(value, FmedgeError)}


@pytest.mark.parametrize("name", ["a\nb", "a\x1b[2Jb", "a\x00b", "a\u202eb", "a\u2028b", "a\udcffb", "a\x7fb", "a\tb"])
def test_control_characters_go(name):
    assert "?" in str(ImageError(f"No image '{name}'."))
    assert str(ImageError(f"No image '{name}'.")).isprintable()


def test_letters_of_all_scripts_stay():
    text = "No image 'Ödön 猫 кот 🐈 ق.jpg'."
    assert str(ImageError(text)) == text


@pytest.mark.parametrize("length", [1, 50, 190, 191, 300, 5000])
def test_a_long_name_loses_its_middle(length):
    name = (string.ascii_letters * 100)[: length - 1] + "!"
    line = str(ImageError(f"No image '{name}': no such file, or not readable. Check the path."))
    assert len(line) <= MESSAGE_LENGTH
    assert line.startswith("No image 'a" if length > 1 else "No image '!")
    assert line.endswith("!': no such file, or not readable. Check the path.")


def test_two_long_names_and_no_long_word():
    assert len(one_line(f"'{'a' * 300}' and '{'b c' * 100}' differ.")) <= MESSAGE_LENGTH
    line = one_line("word " * 100)
    assert len(line) <= MESSAGE_LENGTH
    assert line.endswith("…")
    assert one_line("word " * 100, 20) == "word word word word…"


def test_no_message_is_long_by_itself():
    """The constant parts leave room for what is put into them."""
    long, count = [], 0
    for path in (ROOT / "fmedge").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in KINDS and node.args:
                parts = node.args[0].values if isinstance(node.args[0], ast.JoinedStr) else [node.args[0]]
                count += 1
                if sum(len(part.value) for part in parts if isinstance(part, ast.Constant)) > 150:
                    long.append(f"{path.name}:{node.lineno}")
    print(f"{count} messages")
    assert count > 150
    assert not long
