"""Which images are meant, and what their results are called."""

import glob

import pytest

from fmedge.data.image_list import expand_images, is_several
from fmedge.errors import ImageError, UsageError
from fmedge.model.submodel import Activation, SubModel
from fmedge.workflow.output_paths import name_outputs, page_name


@pytest.fixture
def here(tmp_path, monkeypatch):
    for name in ("b.JPG", "a.png", "notes.txt", ".hidden.png", "odd[1].jpg", "deep/c.webp", "deep/deeper/d.bmp"):
        path = tmp_path / "photos" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    (tmp_path / "empty").mkdir()
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    ("words", "names"),
    [
        (["photos"], ["a.png", "b.JPG", "odd[1].jpg"]),
        (["photos/*"], ["a.png", "b.JPG", "odd[1].jpg"]),
        (["photos/*.png", "photos/a.png"], ["a.png"]),
        (["photos/**/*.webp"], ["c.webp"]),
        (["photos/**"], ["a.png", "b.JPG", "c.webp", "d.bmp", "odd[1].jpg"]),
        (["photos/*.txt"], ["notes.txt"]),
        (["photos/odd[1].jpg"], ["odd[1].jpg"]),
        (["gone.jpg", "photos/b.JPG", "photos/../photos/b.JPG"], ["gone.jpg", "b.JPG"]),
    ],
)
def test_expansion(here, words, names):
    found = [path.name for path in expand_images(map(type(here), words))]
    assert found == names if len(words) > 1 else sorted(found) == names


def test_links_that_lead_in_circles(here):
    """Twelve folders with a link to each of them: one path for every order in which they can be visited."""
    folders = [here / f"f{number:02}" for number in range(12)]
    for folder in folders:
        folder.mkdir()
        (folder / "x.png").touch()
    for folder in folders:
        for other in (*folders, here):
            (folder / f"to-{other.name}").symlink_to(other)
    (here / "photos" / "up").symlink_to(here)
    (here / "photos" / "self").symlink_to("self")
    (here / "photos" / "deep" / "nowhere").symlink_to("gone")
    found = expand_images([type(here)("**")])
    names = {"a.png", "b.JPG", "odd[1].jpg", "deep/c.webp", "deep/deeper/d.bmp"}
    assert set(map(str, found)) == {f"photos/{name}" for name in names} | {
        f"f{number:02}/x.png" for number in range(12)
    }
    assert len(expand_images([here / "**" / "x.png"])) == 12
    assert len(expand_images([here / "*" / "**" / "deep*" / "**" / "*.bmp"])) == 1


def test_a_folder_that_only_a_link_leads_to(here, tmp_path_factory):
    other = tmp_path_factory.mktemp("other")
    (other / "z.png").touch()
    (here / "photos" / "link").symlink_to(other)
    (here / "photos" / "again").symlink_to(other)
    (found,) = expand_images([type(here)("photos/**/z.png")])
    assert str(found) == "photos/again/z.png"


@pytest.mark.parametrize(
    "word", ["photos/**", "**/deep/*", "photos/*/**/*", "**/[ac].*", "**/**/*.bmp", "./photos/**/?.png"]
)
def test_the_same_as_a_shell_finds(here, word):
    """Without links, the result is the same as that of Python's own glob."""
    matches = map(type(here), glob.glob(word, recursive=True))  # noqa: PTH207
    files = {str(path) for path in matches if path.is_file()}
    suffix = type(here)(word).suffix in (".bmp", ".png")
    wanted = {name for name in files if suffix or not name.endswith(".txt")}
    assert {str(path) for path in expand_images([type(here)(word)])} == wanted


@pytest.mark.parametrize(
    ("word", "message"),
    [("empty", "No images in the folder 'empty'"), ("photos/*.gif", r"Nothing matches 'photos/\*.gif'")],
)
def test_nothing_found(here, word, message):
    with pytest.raises(ImageError, match=message):
        expand_images([here.__class__(word)])
    assert is_several(here.__class__(word))


def test_names_are_unique_and_tell_where_from(tmp_path):
    names = ["x/a.jpg", "x/a.png", "y/a.png", "x/b.jpg", "x/B.JPG", "x/c.jpg", "c.jpg.png"]
    images = [tmp_path / name for name in names]
    outputs = name_outputs(images, SubModel(("block1_conv1",)), pages=tmp_path / "pages", maps=None)
    pages = [outputs[image]["block1_conv1"].page for image in images]
    assert [page.name.removesuffix(".block1_conv1.html") for page in pages] == [
        "a.jpg", "x-a.png", "y-a.png", "b-1", "B-2", "c", "c.jpg",
    ]  # fmt: skip
    assert len({str(page).casefold() for page in pages}) == len(pages)


def test_long_names_are_cut_and_still_unique(tmp_path):
    images = [tmp_path / f"{'ü' * 110}{number}.png" for number in range(3)]
    outputs = name_outputs(images, SubModel(("block1_conv1",)), pages=tmp_path, maps=None)
    names = [outputs[image]["block1_conv1"].page.name for image in images]
    assert len(set(names)) == 3
    assert max(len(name.encode()) for name in names) < 200


def test_every_tap_has_its_files(tmp_path):
    submodel = SubModel(("block1_conv1", "block2_conv1"), Activation.NONE)
    (outputs,) = name_outputs([tmp_path / "p.jpg"], submodel, pages=tmp_path, maps=tmp_path / "m", channel=3).values()
    assert outputs["block2_conv1"].page == tmp_path / "p.block2_conv1.none.channel3.html"
    assert outputs["block1_conv1"].maps == tmp_path / "m" / "p.block1_conv1.none.npz"
    own = SubModel(("a/b", "c"), source="keras")
    (outputs,) = name_outputs([tmp_path / "p.jpg"], own, pages=tmp_path, maps=None).values()
    assert outputs["a/b"].page.parent == tmp_path


def test_no_image_is_written_over(tmp_path):
    image = tmp_path / "p.html"
    other = tmp_path / "p.block1_conv1.html"
    with pytest.raises(UsageError, match="overwritten"):
        name_outputs([image, other], SubModel(("block1_conv1",)), pages=tmp_path, maps=None)


def test_page_name_of_every_layer(tmp_path):
    from fmedge.model.submodel import every_tap

    for activation in Activation:
        assert SubModel(every_tap("vgg16", activation), activation).label == "all"
    assert SubModel(every_tap("vgg16", Activation.NONE)).label != "all"
    assert page_name(tmp_path / "p.jpg", SubModel(every_tap("vgg16", Activation.RELU))) == "p.all.html"
