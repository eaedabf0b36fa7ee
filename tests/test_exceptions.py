"""The public tree of errors: whole, and drawn as it is."""

import re

from fmedge import errors, exceptions

ALL = {
    name: value
    for name, value in vars(errors).items()
    if isinstance(value, type) and issubclass(value, errors.FmedgeError)
}


def test_every_error_is_exported():
    assert {name: getattr(exceptions, name) for name in exceptions.__all__} == ALL


def test_the_tree_is_drawn_as_it_is():
    drawn = dict(re.findall(r"─ (\w+) +(\d)", exceptions.__doc__))
    assert {name: int(code) for name, code in drawn.items()} == {name: kind.exit_code for name, kind in ALL.items()}
    assert {kind.__base__ for name, kind in ALL.items() if name != "FmedgeError"} == {errors.FmedgeError}
