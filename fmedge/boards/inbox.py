"""Watch a folder: run a model on the photos that come, then move them to ``done/`` or ``failed/`` beside the results.

A deployment's service runs this on a board: ``python -m fmedge.boards.inbox FOLDER RUN pages|maps|both``. The folder is
looked at once a second, because not every file system tells of changes (NFS does not). A photo is taken when it has not
changed since the last look; hidden files are left alone, so that photos can be copied under such a name and renamed.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from fmedge.boards.deployment import RESULT_FLAGS
from fmedge.data.image_list import IMAGE_SUFFIXES
from fmedge.errors import ImageError, InputsSkipped

LOOK_S = 1.0
MOST_AT_ONCE = 64
"""Most photos of one run: the model is opened once for them, and the first are done soon."""


def find_photos(inbox: Path) -> dict[Path, tuple[int, int]]:
    """Return the photos in a folder, by name, each with its size and the time of its last change."""
    found: dict[Path, tuple[int, int]] = {}
    for path in sorted(inbox.iterdir()):
        if path.suffix.lower() in IMAGE_SUFFIXES and not path.name.startswith(".") and path.is_file():
            status = path.stat()
            found[path] = status.st_size, status.st_mtime_ns
    return found


def take(inbox: Path, run: Sequence[str], results: str, photos: Sequence[Path]) -> int:
    """Run the model on photos, and move them.

    Returns:
        0, or the code of a run that failed for a reason that is not the photos': they stay then.
    """
    words = [*run]
    for flag in RESULT_FLAGS[results]:
        words += [flag] if flag == "--no-page" else [flag, str(inbox / "results")]
    ran = subprocess.run([*words, "--json", *map(str, photos)], stdout=subprocess.PIPE, text=True, check=False)  # noqa: S603
    if ran.returncode not in (0, InputsSkipped.exit_code, ImageError.exit_code):
        return ran.returncode
    wrong = set(map(str, photos))  # unless some are right
    if ran.returncode != ImageError.exit_code:
        wrong = {str(each["image"]) for each in json.loads(ran.stdout) if "error" in each}
    for photo in photos:
        _move(photo, inbox / ("failed" if str(photo) in wrong else "done"))
    return 0


def _move(photo: Path, folder: Path) -> None:
    """Move a photo to a folder, under a name that is free there."""
    folder.mkdir(exist_ok=True)
    names = (photo.name, *(f"{photo.stem}-{number}{photo.suffix}" for number in range(2, 1_000_000)))
    photo.rename(next(folder / name for name in names if not (folder / name).exists()))


def watch(inbox: Path, run: Sequence[str], results: str) -> int:
    """Take photos as they come, until a run fails for a reason that is not theirs; return its code."""
    inbox.mkdir(parents=True, exist_ok=True)
    before: dict[Path, tuple[int, int]] = {}
    while True:
        now = find_photos(inbox)
        settled = [path for path, state in now.items() if before.get(path) == state]
        if settled and (code := take(inbox, run, results, settled[:MOST_AT_ONCE])):
            return code
        before = now
        if len(settled) <= MOST_AT_ONCE:
            time.sleep(LOOK_S)


if __name__ == "__main__":
    folder, program, kind = sys.argv[1:]
    raise SystemExit(watch(Path(folder), [program], kind))
