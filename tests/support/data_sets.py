"""What tests of data sets share: the keys of their photos, and how files of a data set are read."""

from fmedge.bulk.dataset import manifest_name

LAYERS = ["block1_conv1", "block1_pool"]

KEYS = ["c.png", "empty.jpg", "a/1.png", "a/2.jpg", "a/deep/x.webp", "b/0.png", "b/1.png"]


def data_path(folder, shard):
    return folder / f"data-{shard:06}.parquet"


def manifest_path(folder, shard):
    return folder / manifest_name(shard)


def contents(folder):
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def rows_of(folder):
    from pyarrow.parquet import read_table

    return [row for path in sorted(folder.glob("manifest-*")) for row in read_table(path).to_pylist()]
