"""What is packed: of a checkout, what git knows; a file that happens to lie there is left out."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface


class TrackedFiles(BuildHookInterface):  # pyright: ignore[reportMissingTypeArgument]
    """Excludes what git does not know from wheels and source distributions; where there is no git, nothing."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Called by hatchling before it looks for files."""
        if version == "editable" or not Path(self.root, ".git").exists():
            return
        config = self.build_config.target_config
        places = [place.lstrip("/") for place in config.get("include") or config["packages"]]
        words = ["git", "-C", self.root, "ls-files", "--others", "-z", "--", *places]
        try:
            others = subprocess.run(words, stdout=subprocess.PIPE, check=True).stdout  # noqa: S603
        except (OSError, subprocess.CalledProcessError) as error:
            self.app.display_warning(f"git does not say which files are its own ({error}): all are packed.")
            return
        config["exclude"] = [*config.get("exclude", []), *map(_pattern, others.decode().split("\0")[:-1])]


def _pattern(name: str) -> str:
    """A file's name as a pattern, as in .gitignore, that matches it alone."""
    return "/" + re.sub(r"([*?!#\\ \[\]])", r"\\\1", name)
