"""``fmedge boards`` as a user types it, against a real sshd."""

import json

import pytest

from support.boards import Host, find_sshd, prepare


@pytest.fixture(scope="module")
def host(tmp_path_factory):
    if find_sshd() is None:
        pytest.skip("OpenSSH's server or client is not installed")
    host = Host(tmp_path_factory.mktemp("host"))
    yield host
    host.close()


@pytest.fixture(autouse=True)
def _settings(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "settings"))


def test_without_boards(fmedge_inprocess):
    for command in ("list", "status"):
        assert "no boards" in fmedge_inprocess("boards", command).stderr
    assert json.loads(fmedge_inprocess("boards", "list", "--json").stdout) == []
    assert "setup" in fmedge_inprocess("boards").stdout
    assert "Unknown board 'pi'" in fmedge_inprocess("boards", "remove", "pi", code=2).stderr
    assert "cannot be named" in fmedge_inprocess("boards", "add", "Pi", "pi", code=2).stderr
    assert "No file 'none'" in fmedge_inprocess("boards", "add", "pi", "pi", "--ssh-config", "none", code=2).stderr


@pytest.mark.ssh
def test_a_board_comes_and_goes(fmedge_inprocess, host):
    added = fmedge_inprocess(
        "boards", "add", "pi", "board", "--ssh-config", host.config, "--no-setup", "--python", "python3"
    )
    assert added.stdout.startswith("pi: board (")
    (row,) = json.loads(fmedge_inprocess("boards", "list", "--json").stdout)
    assert row == {"name": "pi", "target": "board", "python": "python3", "ssh_config": str(host.config)}
    assert "not set up" in fmedge_inprocess("boards", "status", "pi").stdout
    prepare(host.data)
    shown = fmedge_inprocess("boards", "status").stdout
    assert "fmedge 0." in shown
    assert json.loads(fmedge_inprocess("boards", "status", "--json").stdout)["pi"]["jobs"] == []
    assert fmedge_inprocess("boards", "remove", "pi").stdout == "pi: removed\n"
    assert not (host.data / "fmedge-board").exists()
    assert json.loads(fmedge_inprocess("boards", "list", "--json").stdout) == []


@pytest.mark.ssh
def test_a_board_that_cannot_be_reached(fmedge_inprocess, host, tmp_path):
    config = tmp_path / "config"
    config.write_text(host.config.read_text().replace("user.key", "stranger.key"))
    failed = fmedge_inprocess("boards", "add", "pi", "board", "--ssh-config", config, code=5)
    assert failed.stderr.startswith("Error: Cannot reach the board 'pi': it accepts none of your keys. Install one:")
    assert json.loads(fmedge_inprocess("boards", "list", "--json").stdout) == []
    fmedge_inprocess("boards", "add", "pi", "board", "--ssh-config", config, "--no-setup")
    assert "none of your keys" in fmedge_inprocess("boards", "status", code=5).stderr
    assert "Without it: --forget" in fmedge_inprocess("boards", "remove", "pi", code=5).stderr
    fmedge_inprocess("boards", "remove", "pi", "--forget")


@pytest.mark.slow
@pytest.mark.ssh
@pytest.mark.parametrize("more", [(), ("--copy-wheels",)])
def test_the_whole_set_up(fmedge_process, host, more, tmp_path):
    """An environment from the package index, and one from wheels that are copied; nothing stays in the end."""
    words = ["boards", "add", "pi", "board", "--ssh-config", host.config, *more]
    settings = {"XDG_CONFIG_HOME": str(tmp_path / "settings")}
    assert "pi: board, set up" in fmedge_process(*words, **settings).stdout
    shown = json.loads(fmedge_process("boards", "status", "--json", **settings).stdout)["pi"]
    assert shown["fmedge"]
    assert shown["jobs"] == []
    assert 2e8 < shown["used_bytes"] < 1e9
    fmedge_process("boards", "remove", "pi", **settings)
    assert not host.data.exists()
