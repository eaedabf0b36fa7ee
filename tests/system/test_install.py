"""Installation advice works from where fmedge was installed (PEP 610); every command that is named exists."""

import ast
import json
import re
import shlex
import zipfile
from importlib import metadata

import pytest
import typer.main

from fmedge.cli.app import app
from fmedge.errors import BackendUnavailable
from fmedge.runtime.backends import BACKENDS, find_backend
from fmedge.system import install
from fmedge.system.install import in_place, install_command
from support.places import ROOT


class Distribution:
    """An installed fmedge for which pip wrote this ``direct_url.json``."""

    def __init__(self, written):
        self._written = written

    def read_text(self, name):
        assert name == "direct_url.json"
        return self._written


@pytest.fixture
def installed_from(monkeypatch):
    def installed(written):
        text = json.dumps(written) if isinstance(written, dict) else written
        monkeypatch.setattr(metadata, "distribution", lambda _: Distribution(text))
        install._origin.cache_clear()

    yield installed
    install._origin.cache_clear()


@pytest.mark.parametrize(("editable", "option"), [(False, ""), (True, "-e ")])
def test_from_a_clone(installed_from, tmp_path, editable, option):
    clone = tmp_path / "it's a clone of 猫"
    clone.mkdir()
    installed_from({"url": clone.as_uri(), "dir_info": {"editable": editable} if editable else {}})
    assert install_command("ncnn") == f"pip install {option}{shlex.quote(f'{clone}[ncnn]')}"
    assert shlex.split(install_command("ncnn"))[-1] == f"{clone}[ncnn]"
    assert shlex.split(install_command())[-1] == str(clone)


def test_the_kernels_are_a_package_of_their_own(installed_from, tmp_path):
    """It is on no index: its name alone, which anybody could take there, is never advised."""
    clone = tmp_path / "a clone"
    (clone / "native").mkdir(parents=True)
    installed_from({"url": clone.as_uri(), "dir_info": {"editable": True}})
    assert install_command("native") == f"pip install '{clone}/native'"
    vcs = {"vcs": "git", "commit_id": "ab" * 20}
    installed_from({"url": "https://git.example/fmedge", "vcs_info": vcs})
    wanted = f"fmedge-native @ git+https://git.example/fmedge@{'ab' * 20}#subdirectory=native"
    assert install_command("native") == f"pip install '{wanted}'"
    for written in ({}, {"url": "https://files.example/fmedge.whl", "archive_info": {}}, {"url": tmp_path.as_uri()}):
        installed_from(written)
        assert install_command("native") == "pip install ./native in a clone of fmedge"


def test_from_the_file_of_a_wheel(installed_from, tmp_path):
    wheel = tmp_path / "fmedge-1.0-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w"):
        pass
    installed_from({"url": wheel.as_uri(), "archive_info": {"hash": "sha256=00"}})
    assert install_command("cpu") == f"pip install '{wheel}[cpu]'"


def test_from_a_repository_or_an_address(installed_from):
    vcs = {"vcs": "git", "requested_revision": "main", "commit_id": "ab" * 20}
    installed_from({"url": "https://git.example/fmedge", "vcs_info": vcs})
    assert install_command("gpu") == f"pip install 'fmedge[gpu] @ git+https://git.example/fmedge@{'ab' * 20}'"
    installed_from({"url": "https://files.example/fmedge.whl", "archive_info": {}})
    assert install_command("gpu") == "pip install 'fmedge[gpu] @ https://files.example/fmedge.whl'"


@pytest.mark.parametrize(
    "written",
    [
        None,
        "",
        "{",
        "[]",
        "7",
        "{}",
        {"url": "file:///gone/away", "dir_info": {}},
        {"url": "https://x", "vcs_info": {"vcs": "git"}},
        {"dir_info": {}},
        {"url": "file:///tmp", "dir_info": 7},
    ],
)
def test_from_an_index_or_nobody_knows(installed_from, written):
    installed_from(written)
    assert install_command("ncnn") == "pip install 'fmedge[ncnn]'"
    assert install_command() == "pip install fmedge"


def test_not_installed_at_all(monkeypatch):
    def missing(name):
        raise metadata.PackageNotFoundError(name)

    monkeypatch.setattr(metadata, "distribution", missing)
    install._origin.cache_clear()
    assert install_command("ncnn") == "pip install 'fmedge[ncnn]'"
    install._origin.cache_clear()


def test_every_engine_says_how(installed_from, tmp_path):
    (tmp_path / "native").mkdir()
    installed_from({"url": tmp_path.as_uri(), "dir_info": {"editable": True}})
    others = ("pip install onnxruntime-", f"pip install {tmp_path}/native")
    for row in BACKENDS:
        for provider in row.providers:
            assert "{" not in provider.install
            assert any(start in provider.install for start in (f"'{tmp_path}[", *others))
    assert in_place("pip uninstall onnxruntime, then {gpu}").endswith(f"then pip install -e '{tmp_path}[gpu]'")
    line = str(BackendUnavailable(f"ncnn is not installed. Install it: {find_backend('ncnn').install}."))
    assert line == f"ncnn is not installed. Install it: pip install -e '{tmp_path}[ncnn]'."


def test_extras_that_are_named_exist():
    extras = set(re.findall(r"^(\w+) = \[", (ROOT / "pyproject.toml").read_text(), re.MULTILINE))
    named = {extra for row in BACKENDS for each in row.providers for extra in re.findall(r"\{(\w+)\}", each.advice)}
    for path in (ROOT / "fmedge").rglob("*.py"):
        named |= set(re.findall(r"""install_command\(["'](\w+)["']\)""", path.read_text()))
    assert {"cpu", "gpu", "openvino", "ncnn", "litert", "export"} <= named <= extras


def texts():
    """Yield all strings of the package, each with its location; inserted values are replaced by ``X``."""
    for path in sorted((ROOT / "fmedge").rglob("*.py")):
        inside = set()
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.JoinedStr):
                inside |= {id(part) for part in node.values}
                parts = (part.value if isinstance(part, ast.Constant) else "X" for part in node.values)
                yield f"{path.name}:{node.lineno}", "".join(map(str, parts))
            elif isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in inside:
                yield f"{path.name}:{node.lineno}", node.value


def options_of(command):
    """The options of a command; those of all its commands where it is a group."""
    own = {name for parameter in command.params for name in (*parameter.opts, *parameter.secondary_opts)}
    return own.union(*map(options_of, getattr(command, "commands", {}).values()))


OF_OTHERS = {
    "wheels.py": "--abi --dest --disable-pip-version-check --implementation --no-deps --only-binary --platform "
    "--python-version --quiet --require-hashes --requirement",
    "setup.py": "--clear --disable-pip-version-check --find-links --no-cache-dir --no-deps --no-index "
    "--no-warn-script-location --only-binary --quiet --require-hashes --requirement --without-pip",
    "deployment.py": "--force --user",
}
"""Options of pip, venv and systemctl, which these modules run."""


def test_commands_in_messages_are_commands():
    """Each names an existing command and options that it has."""
    commands = typer.main.get_command(app).commands
    everywhere = {"--help"}.union(*map(options_of, commands.values())) | options_of(typer.main.get_command(app))
    found, wrong = 0, []
    for place, text in texts():
        text = re.sub(r"pip install [^.,;]*|^--interval$", "", text)  # pip's own options, and tegrastats'
        for name, rest in re.findall(
            r"\bfmedge (?:--debug )?([a-z]+)\b((?: (?:--[a-z-]+|[^\s.,;:)-][^\s,;:)]*))*)", text
        ):
            options = re.findall(r"--[a-z][a-z-]+", rest)
            if name in commands:
                found += 1
                wrong += [f"{place}: {name} {option}" for option in options if option not in options_of(commands[name])]
            elif options:
                wrong.append(f"{place}: fmedge {name}")
        known = everywhere.union(OF_OTHERS.get(place.partition(":")[0], "").split())
        wrong += [f"{place}: {each}" for each in re.findall(r"(?<![\w-])--[a-z][a-z-]+", text) if each not in known]
    print(f"{found} commands in messages")
    assert found > 25
    assert not wrong
