"""Say what is locked: ``sbom.cdx.json`` (CycloneDX, of what runs need) and ``docs/licences.md`` (of all).

By ``make lock``. Licences are read from the metadata of what is installed in the interpreter that runs this: that of
the tests has all that this platform takes.
"""

from __future__ import annotations

import json
import re
from importlib import metadata
from pathlib import Path

ROOT = Path(__file__).parent.parent
LONGEST = 60
"""Letters of a licence's name; more is its text."""


def locked(name: str) -> dict[str, list[str]]:
    """The versions of every distribution in a lock file, by normalised name; several where Python versions differ."""
    found: dict[str, list[str]] = {}
    for line in (ROOT / "requirements" / f"{name}.txt").read_text().splitlines():
        match = re.match(r"([A-Za-z0-9._-]+)==([^\s;\\]+)", line)
        if match:
            found.setdefault(match[1].lower(), []).append(match[2])
    return found


def licence(name: str) -> str:
    """The licence that an installed distribution declares; empty where it is not installed or says nothing."""
    try:
        facts = metadata.metadata(name)
    except metadata.PackageNotFoundError:
        return ""
    declared = (facts.get("License-Expression") or facts.get("License") or "").strip()
    if declared and len(declared) <= LONGEST and "\n" not in declared and declared != "UNKNOWN":
        return declared
    classified = [
        entry.rpartition(" :: ")[2] for entry in facts.get_all("Classifier") or () if entry.startswith("License ::")
    ]
    return ", ".join(sorted(set(classified)))


def bundle() -> tuple[str, str]:
    """Name and version of the script that comes with fmedge itself."""
    facts = json.loads((ROOT / "fmedge" / "render" / "assets" / "plotly-cartesian.json").read_text())
    return "plotly.js-cartesian-dist-min", facts["version"]


def sbom(version: str) -> dict[str, object]:
    """What a run needs, as CycloneDX 1.6; the hashes of the files stand in the lock file."""
    components = []
    for name, versions in sorted(locked("demo").items()):
        for each in versions:
            component: dict[str, object] = {
                "type": "library",
                "bom-ref": f"{name}@{each}",
                "name": name,
                "version": each,
                "purl": f"pkg:pypi/{name}@{each}",
            }
            if licence(name):
                component["licenses"] = [{"license": {"name": licence(name)}}]
            components.append(component)
    name, each = bundle()
    components.append(
        {
            "type": "library",
            "bom-ref": f"{name}@{each}",
            "name": name,
            "version": each,
            "purl": f"pkg:npm/{name}@{each}",
            "licenses": [{"license": {"id": "MIT"}}],
        }
    )
    reference = f"fmedge@{version}"
    return {
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "version": 1,
        "metadata": {
            "component": {
                "type": "application",
                "bom-ref": reference,
                "name": "fmedge",
                "version": version,
                "purl": f"pkg:pypi/fmedge@{version}",
                "licenses": [{"license": {"id": "Apache-2.0"}}],
            }
        },
        "components": components,
        "dependencies": [{"ref": reference, "dependsOn": [each["bom-ref"] for each in components]}],
    }


def licences() -> str:
    """The list of licences, as Markdown."""
    runs, tests, native = locked("demo"), locked("test") | locked("pnnx"), locked("native")
    lines = [
        "# Licences of what fmedge is used with",
        "",
        "Written by `make lock` out of the lock files and the metadata of what is installed; do not edit. fmedge",
        "itself is under Apache-2.0 and holds no code of these but plotly.js (MIT), which its pages hold, too. A dash:",
        "not installed on Linux x86-64 with CPython 3.11, or it declares none.",
        "",
        "| package | version | licence | needed for |",
        "|---|---|---|---|",
    ]
    for name, versions in sorted((native | tests | runs).items()):
        use = "runs" if name in runs else "tests, export, other engines" if name in tests else "building fmedge-native"
        lines.append(f"| {name} | {', '.join(versions)} | {licence(name) or '-'} | {use} |")
    lines.append("| {} | {} | MIT | every page; comes with fmedge |".format(*bundle()))
    return "\n".join(lines) + "\n"


def main() -> None:
    """Write both files."""
    version = re.search(r'__version__ = "(.+)"', (ROOT / "fmedge" / "_version.py").read_text())
    if version is None:
        raise SystemExit("fmedge/_version.py has no __version__.")
    (ROOT / "requirements" / "sbom.cdx.json").write_text(json.dumps(sbom(version[1]), indent=1) + "\n")
    (ROOT / "docs" / "licences.md").write_text(licences())


if __name__ == "__main__":
    main()
