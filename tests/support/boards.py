"""A board for tests: an sshd of their own on the loopback interface, behind a proxy that can cut its connections."""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

LONGEST_S = 30
"""Longest wait for something that has to come."""


def find_sshd():
    """The path of OpenSSH's server; None where it, its client, or what makes keys is not installed."""
    path = os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin", "/usr/local/sbin"])
    server = shutil.which("sshd", path=path)
    return server if server and shutil.which("ssh") and shutil.which("ssh-keygen") else None


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Proxy:
    """Passes connections on to a port, until they are cut."""

    def __init__(self, to_port):
        self.to_port = to_port
        self._pairs = set()
        self._open = True
        self._server = socket.create_server(("127.0.0.1", 0))
        self.port = self._server.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self):
        while True:
            try:
                near, _ = self._server.accept()
            except OSError:
                return
            if not self._open:
                near.close()
                continue
            try:
                far = socket.create_connection(("127.0.0.1", self.to_port))
            except OSError:
                near.close()
                continue
            for pair in ((near, far), (far, near)):
                self._pairs.add(pair)
                threading.Thread(target=self._pass_on, args=pair, daemon=True).start()

    def _pass_on(self, one, other):
        with contextlib.suppress(OSError):
            while data := one.recv(1 << 16):
                other.sendall(data)
        for each in (one, other):
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)

    def cut(self):
        """End all connections, and take no more."""
        self._open = False
        for one, other in list(self._pairs):
            for each in (one, other):
                with contextlib.suppress(OSError):
                    each.shutdown(socket.SHUT_RDWR)
                each.close()
        self._pairs.clear()

    def mend(self):
        self._open = True

    def close(self):
        self.cut()
        self._server.close()


class Host:
    """A machine to log in to: its own home folder, keys and configuration, all in one folder."""

    def __init__(self, folder):
        self.folder = folder
        self.home = folder / "home"
        self.config = folder / "ssh_config"
        self.known = folder / "known_hosts"
        for place in (self.home, folder / "bin"):
            place.mkdir()
        (folder / "bin" / "python3").symlink_to(Path(os.path.realpath(sys.executable)))
        for name in ("host", "user", "stranger"):
            words = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(folder / f"{name}.key")]
            subprocess.run(words, check=True, capture_output=True)
        shutil.copy(folder / "user.key.pub", folder / "authorized")
        port = free_port()
        self.proxy = Proxy(port)
        settings = folder / "sshd_config"
        settings.write_text(
            f"Port {port}\nListenAddress 127.0.0.1\nHostKey {folder}/host.key\nAuthorizedKeysFile {folder}/authorized\n"
            f"PidFile {folder}/pid\nStrictModes no\nUsePAM no\nPasswordAuthentication no\n"
            "KbdInteractiveAuthentication no\n"
            f"SetEnv HOME={self.home} XDG_DATA_HOME={self.home}/data PATH={folder}/bin:/usr/bin:/bin\n"
        )
        self.trust("host")
        self.use("user")
        self._process = subprocess.Popen(_as_whoever_runs([find_sshd(), "-D", "-f", settings, "-E", folder / "log"]))
        until = time.monotonic() + LONGEST_S
        while not self._answers(port):
            assert self._process.poll() is None, (folder / "log").read_text()
            assert time.monotonic() < until
            time.sleep(0.02)

    def _answers(self, port):
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port)) as connection:
            return connection.recv(3) == b"SSH"
        return False

    @property
    def data(self):
        """Where fmedge's folder comes to lie."""
        return self.home / "data"

    def use(self, key, port=None):
        """Log in with another key, or to another port."""
        self.config.write_text(
            f"Host board\n HostName 127.0.0.1\n Port {port or self.proxy.port}\n IdentityFile {self.folder}/{key}.key\n"
            f" IdentitiesOnly yes\n IdentityAgent none\n UserKnownHostsFile {self.known}\n GlobalKnownHostsFile none\n"
        )

    def trust(self, key):
        """Take this key for the host's; None: know none."""
        public = (self.folder / f"{key}.key.pub").read_text().split()[:2] if key else []
        self.known.write_text(f"[127.0.0.1]:{self.proxy.port} {' '.join(public)}\n" if key else "")

    def close(self):
        self.proxy.close()
        self._process.kill()
        self._process.wait()


_WITH_US = ["setpriv", "--pdeathsig", "KILL"] if shutil.which("setpriv") else []
"""A server ends with the tests, however these end."""


def _as_whoever_runs(words):
    """For root, sshd wants a folder in /run, which not every container has: it gets a /run of its own."""
    words = [*_WITH_US, *map(str, words)]
    if os.geteuid() != 0 or Path("/run/sshd").is_dir():
        return words
    script = 'mount -t tmpfs none /run && mkdir -m 755 /run/sshd && exec "$@"'
    return ["unshare", "--mount", "sh", "-c", script, "sh", *words]


def prepare(data):
    """Put fmedge's folder on a board as the set-up does, with an environment that has what the tests have."""
    root = data / "fmedge-board"
    root.mkdir(parents=True)
    venv = root / "venv"
    words = [os.path.realpath(sys.executable), "-I", "-m", "venv", "--without-pip", str(venv)]
    subprocess.run(words, check=True, capture_output=True)
    (packages,) = venv.glob("lib/python*/site-packages")
    here = Path(__file__).parents[2]
    ours = [path for path in (str(here), *sys.path) if "site-packages" in path or path == str(here)]
    (packages / "tests.pth").write_text("\n".join(dict.fromkeys(ours)) + "\n")
    from fmedge import __version__

    (root / "board.json").write_text(f'{{"fmedge": "{__version__}", "python": "3", "copied": false}}')
    (root / "made.json").write_text("[]")
    return root


def running(words):
    """The numbers of processes of which the command line holds some words."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and int(entry.name) != os.getpid():
            with contextlib.suppress(OSError):
                if words in (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace"):
                    found.append(int(entry.name))
    return found
