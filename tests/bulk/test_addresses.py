"""Images and data sets that lie elsewhere: on a real server of S3 on the loopback interface, and in fsspec's memory."""

import json
import tarfile
import urllib.request

import pytest

from fmedge.bulk import remote
from fmedge.bulk.checking import describe_dataset, merge_datasets, verify_dataset
from fmedge.bulk.finding import find_inputs
from fmedge.bulk.stores import open_store
from fmedge.errors import BackendUnavailable, ImageError, UsageError
from support.data_sets import KEYS, contents, rows_of

fsspec = pytest.importorskip("fsspec", reason="needs fsspec: pip install 'fmedge[bulk]'")
pytest.importorskip("pyarrow", reason="needs pyarrow: pip install 'fmedge[bulk]'")


def upload(folder, address):
    files, path = fsspec.core.url_to_fs(address)
    for each in sorted(folder.rglob("*")):
        if each.is_file():
            files.pipe_file(f"{path}/{each.relative_to(folder).as_posix()}", each.read_bytes())


def download(address):
    files, path = fsspec.core.url_to_fs(address)
    files.invalidate_cache()
    return {name[len(path) + 1 :]: files.cat_file(name) for name in files.find(path)}


@pytest.fixture(params=["s3", "memory"])
def place(request):
    """A place of its own, elsewhere."""
    if request.param == "s3":
        yield request.getfixturevalue("bucket")
    else:
        address = "memory://place"
        yield address
        fsspec.filesystem("memory").store.clear()


def test_the_same_bytes_as_from_a_folder(extract, photos, place, tmp_path):
    upload(photos, f"{place}/photos")
    extract(tmp_path / "f")
    summary = extract(f"{place}/f", f"{place}/photos")
    assert (summary.inputs, summary.done, summary.failed) == (7, 7, 2)
    assert download(f"{place}/f") == contents(tmp_path / "f")
    assert [row["key"] for row in rows_of(tmp_path / "f")] == KEYS
    assert extract(f"{place}/f", f"{place}/photos").computed == 0
    assert verify_dataset(open_store(f"{place}/f")) == []
    assert describe_dataset(open_store(f"{place}/f")).failed == 2
    merge_datasets([open_store(f"{place}/f")], open_store(f"{place}/g"))
    assert download(f"{place}/g") == download(f"{place}/f")


def test_patterns_lists_and_archives_elsewhere(extract, photos, place, tmp_path):
    upload(photos, f"{place}/photos")
    files, path = fsspec.core.url_to_fs(place)
    names = [key for key in KEYS if key.startswith("a/")]
    for number, name in enumerate(names):
        with tarfile.open(tmp_path / "set.tar", "w") as tar:
            tar.add(photos / name, name)
        files.pipe_file(f"{path}/set-{number:03}.tar", (tmp_path / "set.tar").read_bytes())
    files.pipe_file(f"{path}/photos/list.txt", "\n".join([*names, f"{place}/photos/gone.png"]).encode())
    found = find_inputs([f"{place}/photos/a/*.*"])
    assert [each.key for each in found] == ["1.png", "2.jpg"]
    assert find_inputs([f"{place}/set-{{000..002}}.tar"])[2].read() == (photos / names[2]).read_bytes()
    extract(f"{place}/tars", f"{place}/set-{{000..002}}.tar")
    summary = extract(f"{place}/list", f"{place}/photos/list.txt")
    assert (summary.inputs, summary.failed) == (4, 1)
    assert describe_dataset(open_store(f"{place}/list")).reasons == {"It cannot be read: No such file.": 1}


def test_what_is_not_there(bucket):
    with pytest.raises(ImageError, match=f"No images in '{bucket}/none/'"):
        find_inputs([f"{bucket}/none/"])
    with pytest.raises(BackendUnavailable, match=r"'s3://no-such-bucket-here/x/' cannot be reached"):
        find_inputs(["s3://no-such-bucket-here/x/"])
    with pytest.raises(BackendUnavailable, match=r"'nonsense://x' cannot be reached \(Protocol not known: nonsense"):
        find_inputs(["nonsense://x"])
    with pytest.raises(UsageError, match="is not a data set"):
        describe_dataset(open_store(f"{bucket}/none"))


def test_a_bucket_that_may_only_be_read(extract, photos, bucket, s3_server, monkeypatch):
    boto3 = pytest.importorskip("boto3", reason="needs boto3")
    upload(photos, f"{bucket}/photos")
    allowed = {"Effect": "Allow", "Action": ["s3:Get*", "s3:List*"], "Resource": "*"}
    iam = boto3.client("iam", endpoint_url=s3_server)
    iam.create_user(UserName="reader")
    key = iam.create_access_key(UserName="reader")["AccessKey"]
    policy = json.dumps({"Version": "2012-10-17", "Statement": [allowed]})
    iam.put_user_policy(UserName="reader", PolicyName="read", PolicyDocument=policy)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", key["AccessKeyId"])
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", key["SecretAccessKey"])
    fsspec.get_filesystem_class("s3").clear_instance_cache()

    def check_policies_from(request):
        address = f"{s3_server}/moto-api/reset-auth"
        asked = urllib.request.Request(address, str(request).encode(), {"Content-Type": "text/plain"}, method="POST")
        urllib.request.urlopen(asked).close()

    check_policies_from(0)
    try:
        with pytest.raises(BackendUnavailable, match=rf"No permission for '{bucket}/f/dataset\.json' \(Access Denied"):
            extract(f"{bucket}/f", f"{bucket}/photos")
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "another")
        fsspec.get_filesystem_class("s3").clear_instance_cache()
        with pytest.raises(BackendUnavailable, match="No permission for"):
            extract(f"{bucket}/f", f"{bucket}/photos")
    finally:
        check_policies_from(1 << 40)


def test_a_server_that_is_gone(extract, photos, bucket, monkeypatch, tmp_path):
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    fsspec.get_filesystem_class("s3").clear_instance_cache()
    with pytest.raises(BackendUnavailable, match="cannot be reached"):
        find_inputs([f"{bucket}/photos/"])


def test_access_that_is_lost_ends_the_job_and_running_again_finishes_it(extract, photos, place, monkeypatch, tmp_path):
    upload(photos, f"{place}/photos")
    extract(tmp_path / "whole", shard_size=1)
    connect, count = remote.connect, 0

    def losing(address):
        nonlocal count
        count += 1
        if count > 4:
            raise BackendUnavailable("the bucket is gone")
        return connect(address)

    with monkeypatch.context() as patch:
        patch.setattr(remote, "connect", losing)
        with pytest.raises(BackendUnavailable):
            extract(f"{place}/f", f"{place}/photos", shard_size=1)
    assert verify_dataset(open_store(f"{place}/f")) == []
    extract(f"{place}/f", f"{place}/photos", shard_size=1)
    assert download(f"{place}/f") == contents(tmp_path / "whole")


def test_a_server_that_keeps_silent_costs_one_row(extract, photos, bucket, monkeypatch):
    upload(photos, f"{bucket}/photos")
    bounded = remote.bounded

    def slow(files, name, path, **options):
        if name == "cat_file" and path.endswith("c.png"):
            raise TimeoutError
        return bounded(files, name, path, **options)

    monkeypatch.setattr(remote, "bounded", slow)
    extract(f"{bucket}/f", f"{bucket}/photos")
    assert "It cannot be read: no answer in time." in describe_dataset(open_store(f"{bucket}/f")).reasons
