"""Atomic writing."""

import contextlib
import errno
import io
import os
import stat
from pathlib import Path

import pytest

from fmedge.errors import ArtifactError, UsageError, WeightsError, WriteError
from fmedge.system.files import replacing, require_folder, require_output, require_writable, write_bytes
from fmedge.system.reading import digest, file_holds, read_bytes


def test_content_replaces_what_was_there(tmp_path):
    path = tmp_path / "a.bin"
    write_bytes(path, b"one", b"two")
    write_bytes(path, b"three")
    assert path.read_bytes() == b"three"
    assert os.listdir(tmp_path) == ["a.bin"]


def test_failure_leaves_the_former_file_and_no_other(tmp_path):
    path = tmp_path / "a.bin"
    write_bytes(path, b"former")
    with pytest.raises(RuntimeError), replacing(path, lambda _: True) as stream:
        stream.write(b"half")
        raise RuntimeError
    assert path.read_bytes() == b"former"
    assert os.listdir(tmp_path) == ["a.bin"]


def test_file_follows_the_umask(tmp_path):
    former = os.umask(0o027)
    try:
        write_bytes(tmp_path / "a.bin", b"")
    finally:
        os.umask(former)
    assert stat.S_IMODE((tmp_path / "a.bin").stat().st_mode) == 0o640


def test_full_disk_is_one_clear_line(tmp_path):
    resource = pytest.importorskip("resource", reason="POSIX alone limits the size of files")
    import signal

    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, limits[1]))
    try:
        with pytest.raises(WriteError, match=r"Cannot write '.*a.bin': File too large"):
            write_bytes(tmp_path / "a.bin", bytes(100_000))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, handler)
    assert os.listdir(tmp_path) == []


def test_a_link_planted_at_the_name_is_replaced_not_followed(tmp_path):
    other = tmp_path / "other"
    other.write_bytes(b"untouched")
    (tmp_path / "a.bin").symlink_to(other)
    write_bytes(tmp_path / "a.bin", b"new")
    assert other.read_bytes() == b"untouched"
    assert (tmp_path / "a.bin").read_bytes() == b"new"


def test_places_that_cannot_be_written(tmp_path):
    with pytest.raises(WriteError, match="it is a folder"):
        require_writable(tmp_path)
    with pytest.raises(WriteError, match="does not exist"):
        require_writable(tmp_path / "no" / "page.html")
    with pytest.raises(WriteError, match="File name too long"):
        require_writable(tmp_path / ("x" * 300))
    with pytest.raises(UsageError, match=r"ends in \.html"):
        require_output(tmp_path / "page.pdf", ".html")
    require_output(None, ".html")


def test_folders_that_cannot_be_written(tmp_path):
    require_folder(tmp_path / "new" / "newer")
    (tmp_path / "file").touch()
    for path in (tmp_path / "file", tmp_path / "file" / "new"):
        with pytest.raises(WriteError, match="is not a folder"):
            require_folder(path)
    assert os.listdir(tmp_path) == ["file"]


@pytest.mark.skipif(
    not Path("/proc/self").is_dir(), reason="Linux has a file system where root may write and nobody can"
)
def test_a_folder_is_tried_not_asked():
    with pytest.raises(WriteError):
        require_writable(Path("/proc/page.html"))
    with pytest.raises(WriteError):
        require_folder(Path("/proc/pages"))


@pytest.mark.skipif(os.name != "posix", reason="POSIX devices and pipes")
def test_a_device_or_pipe_is_never_replaced(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "null").symlink_to("/dev/null")
    (tmp_path / "round").symlink_to(tmp_path / "round")
    for path, words in (
        (tmp_path / "pipe", "pipe, device or similar"),
        (tmp_path / "null", "pipe, device or similar"),
        (tmp_path / "round", "symbolic links"),
        (Path("/dev/null"), "pipe, device or similar"),
    ):
        for write in (require_writable, write_bytes):
            with pytest.raises(WriteError, match=words):
                write(path)
    assert stat.S_ISCHR(Path("/dev/null").stat().st_mode)
    assert sorted(os.listdir(tmp_path)) == ["null", "pipe", "round"]


def test_what_reads_otherwise_gets_no_name(tmp_path, monkeypatch):
    """Simulate a file system that silently loses the end of a file."""
    path = tmp_path / "a.bin"
    write_bytes(path, b"former")
    fsync = os.fsync
    monkeypatch.setattr(os, "fsync", lambda number: (os.ftruncate(number, 3), fsync(number)))
    with pytest.raises(WriteError, match="does not read back"):
        write_bytes(path, b"newer")
    assert path.read_bytes() == b"former"
    assert os.listdir(tmp_path) == ["a.bin"]


@pytest.mark.parametrize("name", ["x" * 250 + ".html", "é" * 125 + ".html"])
def test_the_longest_names(tmp_path, name):
    path = tmp_path / name
    left = tmp_path / f".{name.encode()[:200].decode()}.0123456789ab.tmp"
    left.touch()
    require_writable(path)
    write_bytes(path, b"1")
    assert os.listdir(tmp_path) == [name]


def test_files_of_others_are_not_swept_away(tmp_path):
    others = [".a.bin.backup.tmp", ".a.bin.0123456789ab", ".a.bin.json.0123456789ab.tmp", "a.bin.0123456789ab.tmp"]
    for name in others:
        (tmp_path / name).touch()
    write_bytes(tmp_path / "a.bin", b"1")
    assert sorted(os.listdir(tmp_path)) == sorted(["a.bin", *others])


def test_reading_is_bounded(tmp_path):
    path = tmp_path / "a.bin"
    path.write_bytes(bytes(11))
    assert read_bytes(path, 11) == bytes(11)
    with pytest.raises(ArtifactError, match="larger than the 10 bytes"):
        read_bytes(path, 10)
    with pytest.raises(ArtifactError, match="Cannot read"):
        read_bytes(tmp_path / "none", 10)


def test_eight_writers_at_once(tmp_path):
    """No writer sweeps away what another one is writing."""
    from concurrent.futures import ProcessPoolExecutor

    contents = [bytes([number]) * 200_000 for number in range(8)]
    with ProcessPoolExecutor(8) as pool:
        list(pool.map(_write_often, [tmp_path / "a.bin"] * 8, contents))
    assert (tmp_path / "a.bin").read_bytes() in contents
    assert os.listdir(tmp_path) == ["a.bin"]


def _write_often(path, content):
    for _ in range(50):
        write_bytes(path, content)


def test_content_reaches_the_disk_before_the_name_and_the_name_after(tmp_path, monkeypatch):
    events = []
    fsync, replace = os.fsync, Path.replace

    def synced(descriptor):
        events.append("file" if stat.S_ISREG(os.fstat(descriptor).st_mode) else "folder")
        fsync(descriptor)

    def renamed(path, target):
        events.append("name")
        return replace(path, target)

    monkeypatch.setattr(os, "fsync", synced)
    monkeypatch.setattr(Path, "replace", renamed)
    write_bytes(tmp_path / "a", b"1")
    assert events == ["file", "name", "folder"]


def test_a_link_planted_at_the_temporary_name_is_not_followed(tmp_path, monkeypatch):
    victim = tmp_path / "victim"
    victim.write_bytes(b"whole")
    monkeypatch.setattr("secrets.token_hex", lambda _: "guessed")
    (tmp_path / ".a.guessed.tmp").symlink_to(victim)
    with pytest.raises(WriteError):
        write_bytes(tmp_path / "a", b"1")
    assert victim.read_bytes() == b"whole"


def test_a_short_file_is_read_without_memory_for_the_longest(tmp_path):
    import tracemalloc

    path = tmp_path / "short"
    path.write_bytes(b"short")
    tracemalloc.start()
    try:
        assert read_bytes(path, 1 << 30) == b"short"
        assert tracemalloc.get_traced_memory()[1] < 1 << 20
    finally:
        tracemalloc.stop()


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="no file that tells no size")
def test_a_file_that_tells_no_size_is_read_whole():
    assert read_bytes(Path("/proc/self/status"), 1 << 20).endswith(b"\n")
    with pytest.raises(ArtifactError, match="larger than the 100 bytes allowed"):
        read_bytes(Path("/proc/self/status"), 100)


@pytest.mark.skipif(os.name != "posix", reason="POSIX descriptors")
@pytest.mark.parametrize("number", [errno.EIO, errno.ENOSPC, errno.EDQUOT])
def test_a_close_that_fails(tmp_path, monkeypatch, number):
    """Network file systems report write errors on close: that gives one error, and no temporary file is left."""

    class Failing(io.FileIO):
        def close(self):
            failed = not self.closed
            super().close()
            if failed:
                raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "fdopen", lambda descriptor, mode: io.BufferedRandom(Failing(descriptor, "r+b")))
    with pytest.raises(WriteError, match=os.strerror(number)):
        write_bytes(tmp_path / "a.bin", b"new")
    close = os.close

    def fail(descriptor):
        close(descriptor)
        raise OSError(number, os.strerror(number))

    with monkeypatch.context() as patch:
        patch.setattr(os, "close", fail)
        with pytest.raises(WriteError, match=os.strerror(number)):
            require_writable(tmp_path / "b.bin")
    assert [path.name for path in tmp_path.iterdir() if path.suffix == ".tmp"] == []


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="POSIX pipes")
def test_only_regular_files_are_read_and_none_is_waited_for(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "link").symlink_to("pipe")
    (tmp_path / "folder").mkdir()
    (tmp_path / "device").symlink_to("/dev/zero")
    for name in ("pipe", "link", "folder", "device"):
        with pytest.raises(ArtifactError, match=f"Cannot read '.*{name}'"):
            read_bytes(tmp_path / name, 10)
        with pytest.raises(WeightsError, match=f"Cannot read the weights '.*{name}'"):
            digest(tmp_path / name, "sha256")
        assert not file_holds(tmp_path / name, b"")


@pytest.mark.skipif(not os.access("/proc/kmsg", os.R_OK), reason="no log of the kernel here, or not for this user")
def test_a_file_of_the_system_that_would_be_waited_for():
    """Such a file counts as regular, yet reading it may wait for data."""
    for _ in range(3):
        with contextlib.suppress(ArtifactError, WeightsError):
            read_bytes(Path("/proc/kmsg"), 1 << 20)
            digest(Path("/proc/kmsg"), "sha256")


def test_a_file_that_holds_just_this(tmp_path):
    path = tmp_path / "a"
    assert not file_holds(path, b"")
    for content in (b"", b"ab", bytes(3 << 20)):
        path.write_bytes(content)
        assert file_holds(path, content)
        assert not file_holds(path, content + b"c")
        assert not file_holds(path, content[:-1] or b"d")
