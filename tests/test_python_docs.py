"""What docs/python.md shows works."""

import logging
import re

import fmedge.exceptions
from fmedge.errors import FmedgeError
from support.places import ROOT

PAGE = (ROOT / "docs/python.md").read_text()


def test_the_examples(tmp_path, monkeypatch, capsys):
    from draw_picture import draw

    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("FMEDGE_WEIGHTS", "untrained")
    monkeypatch.setattr(logging, "basicConfig", lambda **_: None)
    draw().save("photo.jpg")
    (tmp_path / "photos").mkdir()
    draw().save("photos/one.jpg")
    names = {}
    for example in re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL):
        exec(compile(example, "docs/python.md", "exec"), names)
    said = capsys.readouterr().out
    assert "FeatureMaps('block2_conv2', (1, 128, 112, 112), float32, 'photo.jpg')" in said
    assert "Cannot decode '<bytes>' as an image. Allowed: undamaged JPEG, PNG, WebP or BMP." in said
    assert "Artifact('models/" in said
    assert (tmp_path / "sheet.png").is_file()


def test_the_table_of_errors():
    told = {name: int(code) for name, code in re.findall(r"^\| `(\w+)` \| (\d) \|", PAGE, re.MULTILINE)}
    errors = {name: getattr(fmedge.exceptions, name) for name in fmedge.exceptions.__all__}
    assert told == {name: kind.exit_code for name, kind in errors.items()}
    assert {kind.__base__ for kind in errors.values()} == {Exception, FmedgeError}
