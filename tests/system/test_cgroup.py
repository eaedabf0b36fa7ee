"""Limits of control groups, read from trees as kernels and container engines lay them out."""

import pytest

from fmedge.system.cgroup import cpu_quota, memory_limits

MB = 1 << 20
V2 = "30 23 0:26 / /sys/fs/cgroup rw,nosuid - cgroup2 cgroup2 rw\n"
V1 = (
    "32 31 0:29 {top} /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct\n"
    "33 31 0:30 {top} /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n"
)


@pytest.fixture
def tree(tmp_path):
    """Write the files of a system: what /proc reports of this process, and the files of each group's folder."""

    def write(mounts, groups, **folders):
        files = {"proc/self/mountinfo": mounts, "proc/self/cgroup": groups}
        for folder, content in folders.get("files", {}).items():
            files[f"sys/fs/cgroup/{folder}"] = content
        for name, content in files.items():
            path = tmp_path / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(content)
        return tmp_path

    return write


def limits(root):
    return cpu_quota(root), *memory_limits(root)


def test_version_2(tree):
    files = {
        "cpu.max": "150000 100000\n",
        "memory.max": f"{512 * MB}\n",
        "memory.current": f"{100 * MB}\n",
        "memory.stat": f"anon {60 * MB}\ninactive_file {30 * MB}\n",
    }
    assert limits(tree(V2, "0::/\n", files=files)) == (1.5, 512 * MB, 442 * MB)


def test_the_smallest_of_nested_groups_counts_each_by_itself(tree):
    files = {
        "a.slice/cpu.max": "50000 100000\n",
        "a.slice/b.service/cpu.max": "400000 100000\n",
        "a.slice/memory.max": "max\n",
        "a.slice/memory.current": f"{900 * MB}\n",
        "a.slice/b.service/memory.max": f"{256 * MB}\n",
        "a.slice/b.service/memory.current": f"{56 * MB}\n",
        "other.slice/cpu.max": "1000 100000\n",
    }
    root = tree(V2, "0::/a.slice/b.service\n", files=files)
    assert limits(root) == (0.5, 256 * MB, 200 * MB)


@pytest.mark.parametrize(
    ("top", "group", "folder"),
    [("/docker/1f", "/docker/1f", ""), ("/", "/docker/1f", "docker/1f/"), ("/docker/1f", "/", "")],
    ids=["in a container", "on the host", "in a namespace"],
)
def test_version_1(tree, top, group, folder):
    files = {
        f"cpu,cpuacct/{folder}cpu.cfs_quota_us": "25000\n",
        f"cpu,cpuacct/{folder}cpu.cfs_period_us": "100000\n",
        f"memory/{folder}memory.limit_in_bytes": f"{128 * MB}\n",
        f"memory/{folder}memory.usage_in_bytes": f"{100 * MB}\n",
        f"memory/{folder}memory.stat": f"inactive_file 1\ntotal_inactive_file {30 * MB}\n",
    }
    groups = f"4:memory:{group}\n2:cpu,cpuacct:{group}\n0::/\n"
    assert limits(tree(V1.format(top=top), groups, files=files)) == (0.25, 128 * MB, 58 * MB)


def test_what_has_used_more_than_it_may_has_nothing_left(tree):
    files = {"memory.max": f"{50 * MB}\n", "memory.current": f"{60 * MB}\n"}
    assert limits(tree(V2, "0::/\n", files=files)) == (None, 50 * MB, 0)


@pytest.mark.parametrize(
    ("mounts", "groups", "files"),
    [
        (V2, "0::/\n", {"cpu.max": "max 100000\n", "memory.max": "max\n", "memory.current": "1\n"}),
        (V2, "0::/\n", {"cpu.max": "", "memory.max": "lots\n", "memory.current": "\n"}),
        (V2, "0::/\n", {"cpu.max": "50000 0\n"}),
        (
            V1.format(top="/"),
            "4:memory:/\n2:cpu,cpuacct:/\n",
            {
                "cpu,cpuacct/cpu.cfs_quota_us": "-1\n",
                "cpu,cpuacct/cpu.cfs_period_us": "100000\n",
                "memory/memory.limit_in_bytes": "9223372036854771712\n",
                "memory/memory.usage_in_bytes": "1\n",
            },
        ),
        ("", "", {}),
        ("nonsense\n1 - cgroup\n", "0\n::\n", {}),
    ],
    ids=["v2 max", "not numbers", "no period", "v1 unlimited", "no groups", "other files"],
)
def test_no_limit_is_none(tree, mounts, groups, files):
    assert limits(tree(mounts, groups, files=files)) == (None, None, None)


def test_a_system_without_control_groups(tmp_path):
    assert limits(tmp_path) == (None, None, None)


def test_a_process_that_is_moved_to_another_group_has_its_limits(tree):
    files = {"a/memory.max": f"{50 * MB}\n", "a/memory.current": "0\n", "b/cpu.max": "50000 100000\n"}
    root = tree(V2, "0::/a\n", files=files)
    assert limits(root) == (None, 50 * MB, 50 * MB)
    (root / "proc/self/cgroup").write_text("0::/b\n")
    assert limits(root) == (0.5, None, None)
