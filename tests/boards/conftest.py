"""Boards for these tests."""

import pytest

from support.boards import Host, find_sshd


@pytest.fixture(scope="module")
def _host(tmp_path_factory):
    if find_sshd() is None:
        pytest.skip("OpenSSH's server or client is not installed")
    host = Host(tmp_path_factory.mktemp("host"))
    yield host
    host.close()


@pytest.fixture
def host(_host):
    """A machine to log in to, as it was before each test."""
    _host.proxy.mend()
    _host.trust("host")
    _host.use("user")
    return _host
