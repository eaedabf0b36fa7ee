"""Fuzz one target, or all, with Atheris: coverage-guided mutation of the corpus.

    python tests/fuzz/atheris_run.py [TARGET...] [--seconds 60] [--keep]

A finding is written to tests/fuzz/findings/ and ends that target with an error. With --keep what was found to reach new
code joins the corpus, reduced to the fewest files.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).parent
ENGINE = "--engine"
"""First word of the process that does the work for one target."""

MAX_BYTES = 1 << 14
"""Inputs grow no longer: what is read is decided in the first few kB."""


def main() -> int:
    """Fuzz the targets one after the other, each in a process of its own."""
    sys.path.insert(0, str(HERE.parent))
    if sys.argv[1:2] == [ENGINE]:
        return _engine(sys.argv[2], sys.argv[3:])
    from fuzz.targets import TARGETS  # after: the engine instruments what it imports

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("targets", nargs="*", metavar="TARGET", help=f"of {', '.join(TARGETS)}; all if none is named")
    parser.add_argument("--seconds", type=int, default=60, help="per target")
    parser.add_argument("--keep", action="store_true", help="let the corpus grow")
    chosen = parser.parse_args()
    worst = 0
    for name in chosen.targets or TARGETS:
        if name not in TARGETS:
            parser.error(f"no target '{name}'. Allowed: {', '.join(TARGETS)}")
        code = _fuzz(name, chosen.seconds, keep=chosen.keep)
        print(f"{name}: {'nothing found' if code == 0 else 'FOUND SOMETHING, see above'}", flush=True)
        worst = worst or code
    return worst


def _fuzz(name: str, seconds: int, *, keep: bool) -> int:
    corpus, findings = HERE / "corpus" / name, HERE / "findings"
    findings.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as place:
        grown, fewest, program = (Path(place, each) for each in ("grown", "fewest", "program"))
        grown.mkdir()
        fewest.mkdir()
        program.write_text(f'#!/bin/sh\nexec "{sys.executable}" "{__file__}" {ENGINE} {name} "$0" "$@"\n')
        program.chmod(0o700)

        def call(*words: object) -> int:
            return subprocess.run(list(map(str, [program, *words])), check=False).returncode

        limits = [f"-max_total_time={seconds}", f"-max_len={MAX_BYTES}", "-timeout=10", "-rss_limit_mb=2048"]
        code = call(
            *limits, f"-artifact_prefix={findings}/{name}-", "-verbosity=0", "-print_final_stats=1", grown, corpus
        )
        if keep and code == 0:
            code = call("-merge=1", fewest, corpus, grown)
            if code == 0 and any(fewest.iterdir()):
                shutil.rmtree(corpus)
                corpus.mkdir()
                for new in fewest.iterdir():
                    (corpus / new.name[:16]).write_bytes(new.read_bytes())
    return code


def _engine(name: str, words: list[str]) -> int:
    """Fuzz in this process.

    Args:
        name: The target.
        words: The program that was started, which libFuzzer starts again to merge, and libFuzzer's flags.
    """
    import atheris

    with atheris.instrument_imports(include=["fmedge"]):
        from fuzz.targets import run_target

    atheris.Setup(words, lambda data: run_target(name, data) and None)
    atheris.Fuzz()
    return 0


if __name__ == "__main__":
    sys.exit(main())
