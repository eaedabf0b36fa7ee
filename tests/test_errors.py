"""Messages: one line, of bounded length, without what steers a terminal."""

import ast
import copy
import pickle
import re
import string

import pytest

from fmedge import errors
from fmedge.errors import MESSAGE_LENGTH, FmedgeError, ImageError, UsageError, one_line
from support.places import ROOT

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
    line = ImageError(f"No image '{name}': no such file, or not readable.", hint="Check the path.").in_full()
    assert len(line) <= MESSAGE_LENGTH
    assert line.startswith("No image 'a" if length > 1 else "No image '!")
    assert line.endswith("!': no such file, or not readable. Check the path.")


def test_two_long_names_and_no_long_word():
    assert len(one_line(f"'{'a' * 300}' and '{'b c' * 100}' differ.")) <= MESSAGE_LENGTH
    line = one_line("word " * 100)
    assert len(line) <= MESSAGE_LENGTH
    assert line.endswith("…")
    assert one_line("word " * 100, 20) == "word word word word…"


MD5 = "6d6bbae143d832006294945121d1f1fc"
SHA256 = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"
LONG_PATH = "/" + "/".join(["a folder of photos"] * 40) + "/photo of the 3rd.jpeg"


@pytest.mark.parametrize(
    "name",
    [
        f"'{LONG_PATH}'",
        LONG_PATH.replace(" ", "_"),
        f"'{'n' * 240}.safetensors'",
        "'C:\\Users\\" + "x" * 200 + "\\photo.jpg'",
        "https://storage.example/" + "y" * 200 + "/weights.h5",
        f"'pictures/{'猫' * 80}.png'",
        f"-e '{LONG_PATH}[ncnn]'",
        MD5,
        SHA256,
    ],
)
@pytest.mark.parametrize(
    "around", ["No file {}. Check the path.", "Download {} (MD5 {}), then give it.", "{}" + " word" * 80]
)
def test_names_paths_hashes_and_addresses_stay_whole(name, around):
    line = one_line(around.replace("{}", name))
    assert line.count(name) == around.count("{}")
    others = line.replace(name, "")
    assert len(others) <= MESSAGE_LENGTH
    assert others.startswith(around.replace("{}", "")[:150])


def test_names_after_the_end_that_is_cut():
    line = one_line("word " * 100 + f"'a/photo.jpg' and {MD5} " + "more " * 50)
    assert line.endswith(f"word word… 'a/photo.jpg' {MD5}")


def test_what_no_system_takes_as_a_path_is_cut():
    for word in ("/" + "x" * 256 + "/a.jpg", "/".join(["name"] * 1000), f"{'a' * 300}.jpg", f"{MD5 * 5}"):
        assert len(one_line(f"No image '{word}': no such file.")) <= MESSAGE_LENGTH


def test_no_message_is_long_by_itself():
    """The constant parts leave room for what is put into them."""
    long, count = [], 0
    for path in (ROOT / "fmedge").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in KINDS and node.args:
                texts = [node.args[0], *(word.value for word in node.keywords if word.arg == "hint")]
                parts = [
                    part for text in texts for part in (text.values if isinstance(text, ast.JoinedStr) else [text])
                ]
                count += 1
                if sum(len(part.value) for part in parts if isinstance(part, ast.Constant)) > 150:
                    long.append(f"{path.name}:{node.lineno}")
    print(f"{count} messages")
    assert count > 150
    assert not long


def test_the_hint_is_a_field_of_its_own():
    error = ImageError("max_pixels 0: got 'a--b.jpg'.", hint="Raise\n--max-pixels.", flags=("--max-pixels",))
    assert str(error) == "max_pixels 0: got 'a--b.jpg'."
    assert error.hint == "Raise?--max-pixels."
    assert error.in_full() == "--max-pixels 0: got 'a--b.jpg'. Raise?--max-pixels."
    assert ImageError("Only this.").in_full() == "Only this."


@pytest.mark.parametrize("again", [copy.copy, copy.deepcopy, lambda error: pickle.loads(pickle.dumps(error))])
def test_copies_keep_all_fields(again):
    error = again(UsageError("size 0.", hint="Give another.", flags=("--size",)))
    assert (type(error), str(error), error.hint, error.flags) == (UsageError, "size 0.", "Give another.", ("--size",))
    assert error.exit_code == 2


def test_messages_name_neither_flags_nor_commands():
    """Those stand in the hints, and the command line adds them."""
    found = []
    for path in (ROOT / "fmedge").rglob("*.py"):
        if "cli" in path.parts:
            continue
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in KINDS and node.args:
                parts = ast.walk(node.args[0])
                text = "".join(str(part.value) for part in parts if isinstance(part, ast.Constant))
                if re.search(r"(?<!\S)--[a-z]|\bfmedge (export|run|bench|tune|doctor|info|layers)|pip install", text):
                    found.append(f"{path.name}:{node.lineno}: {text}")
    assert not found


def test_flags_stand_in_their_messages():
    """What is put in the place of an option's name has one to be put in the place of."""
    count = 0
    for path in (ROOT / "fmedge").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            words = {word.arg: word.value for word in node.keywords} if isinstance(node, ast.Call) else {}
            if isinstance(node, ast.Call) and isinstance(words.get("flags"), ast.Tuple):
                parts = [part for part in ast.walk(node.args[0]) if isinstance(part, ast.Constant)]
                text = "".join(str(part.value) for part in parts)
                for flag in ast.literal_eval(words["flags"]):
                    assert flag.removeprefix("--").replace("-", "_") in text, (path.name, flag, text)
                    count += 1
    assert count > 15
