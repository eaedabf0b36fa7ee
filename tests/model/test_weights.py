"""Which weights are chosen, and where they come from."""

import hashlib
import os

import numpy as np
import pytest

from fmedge.errors import WeightsError
from fmedge.model import weights
from fmedge.model.card import WeightsFacts
from fmedge.model.stock import STOCK, VGG16
from fmedge.system.progress import no_progress
from support.messages import says

OFFICIAL = STOCK[VGG16].weights


def test_untrained_weights_are_seeded_he_normal():
    one, facts = weights.load_weights(weights.UNTRAINED, "block1_conv2")
    two, _ = weights.load_weights(weights.UNTRAINED, "block2_conv1")
    assert facts.kind == "untrained"
    np.testing.assert_array_equal(one["block1_conv2"][0], two["block1_conv2"][0])
    assert two["block2_conv1"][0].std() == pytest.approx(np.sqrt(2 / (9 * 64)), rel=0.02)
    assert not two["block2_conv1"][1].any()


def test_wish_comes_from_the_flag_then_the_environment_then_imagenet(monkeypatch):
    assert weights.choose_weights().facts.kind == "imagenet"
    monkeypatch.setenv("FMEDGE_WEIGHTS", "untrained")
    assert weights.choose_weights().facts.kind == "untrained"
    assert weights.choose_weights("imagenet").facts.kind == "imagenet"


def test_other_weights_add_their_hash_to_the_name(tmp_path):
    path = tmp_path / "mine.h5"
    path.write_bytes(b"mine")
    choice = weights.choose_weights(str(path))
    assert choice.token == f"w-{hashlib.sha256(b'mine').hexdigest()[:8]}"
    assert choice.matches(choice.facts)
    assert not choice.matches(WeightsFacts("file", "0" * 64))
    assert not choice.matches(WeightsFacts("imagenet", choice.facts.sha256))


def test_missing_file_is_named(tmp_path):
    with pytest.raises(WeightsError, match=r"No weights file '.*gone.h5'"):
        weights.choose_weights(str(tmp_path / "gone.h5"))
    with pytest.raises(WeightsError, match="not a regular file"):
        weights.choose_weights(str(tmp_path))


@pytest.fixture
def small_official(monkeypatch, tmp_path):
    """Replace the official file by a small one: the search checks only size and hash."""
    content = b"official"
    stand_in = OFFICIAL._replace(md5=hashlib.md5(content).hexdigest(), size_bytes=len(content))
    monkeypatch.setitem(STOCK, VGG16, STOCK[VGG16]._replace(weights=stand_in))
    return content


def test_the_official_file_under_any_name_is_imagenet(small_official, tmp_path):
    path = tmp_path / "copy.h5"
    path.write_bytes(small_official)
    assert weights.choose_weights(str(path)).token == ""


def test_our_cache_comes_before_keras_and_damaged_files_are_passed_over(small_official, tmp_path, monkeypatch):
    ours = weights.cache_folder() / OFFICIAL.name
    keras = tmp_path / "keras" / "models" / OFFICIAL.name
    monkeypatch.setenv("KERAS_HOME", str(tmp_path / "keras"))
    for path in (ours, keras):
        path.parent.mkdir(parents=True)
        path.write_bytes(small_official)
    assert weights._official_file(STOCK[VGG16].weights, True, no_progress) == ours
    ours.write_bytes(b"offic1al")
    assert weights._official_file(STOCK[VGG16].weights, True, no_progress) == keras
    keras.unlink()
    with pytest.raises(WeightsError, check=says("--offline")):
        weights._official_file(STOCK[VGG16].weights, True, no_progress)


def test_without_a_network_the_error_says_what_to_put_where(monkeypatch):
    def closed(*_, **__):
        raise WeightsError("host could not be reached.")

    monkeypatch.setattr("fmedge.model.download.download", closed)
    with pytest.raises(WeightsError) as caught:
        weights.load_weights(weights.choose_weights(), "block1_conv1")
    text = caught.value.in_full()
    assert f" {OFFICIAL.url} " in text
    assert OFFICIAL.md5 in text
    assert text.startswith("host could not be reached.")
    assert text.endswith("as --weights.")
    assert "\n" not in text


def _without_home(monkeypatch, tmp_path):
    import platformdirs

    def homeless(*_, **__):
        raise RuntimeError("could not determine the home directory")

    monkeypatch.setattr(platformdirs, "user_cache_dir", homeless)
    monkeypatch.setattr("tempfile.gettempdir", lambda: str(tmp_path))
    return tmp_path / f"fmedge-{os.getuid()}"


@pytest.mark.skipif(os.name != "posix", reason="users have numbers on POSIX")
def test_without_a_home_the_cache_is_a_folder_of_ones_own_for_temporary_files(monkeypatch, tmp_path):
    folder = _without_home(monkeypatch, tmp_path)
    assert weights.cache_folder() == folder / "weights"
    assert folder.stat().st_mode & 0o777 == 0o700


@pytest.mark.skipif(os.name != "posix", reason="users have numbers on POSIX")
@pytest.mark.parametrize("trap", ["open to all", "a link"])
def test_a_folder_that_others_may_write_to_is_no_cache(trap, monkeypatch, tmp_path):
    folder = _without_home(monkeypatch, tmp_path)
    if trap == "a link":
        (tmp_path / "elsewhere").mkdir()
        folder.symlink_to(tmp_path / "elsewhere")
    else:
        folder.mkdir()
        folder.chmod(0o777)
    with pytest.raises(WeightsError, match="XDG_CACHE_HOME"):
        weights.cache_folder()
