"""What files from strangers take at the most, kind by kind: memory, seconds, exit codes.

    python tests/bounds_table.py [--count 200] [--first 0] [KIND...]

Every file is made anew by tests/support/strangers.py, from its number.
"""

import argparse
import shutil
import tempfile
from collections import Counter
from pathlib import Path

from support.strangers import KINDS, case, measured, wrong

COLUMNS = ("kind", "files", "good: MB", "worst: MB", "good: s", "worst: s", "good: CPU s", "worst: CPU s", "exit codes")
HEAD = f"| {' | '.join(COLUMNS)} |\n{'|---' * len(COLUMNS)}|"


def row(kind, first, count, folder):
    """One line of the table; cases that end otherwise than they should are told before."""
    place = folder / "good"
    place.mkdir()
    good = measured(KINDS[kind].good(place), place)
    assert good.code == 0, good.said
    worst_mb, worst_s, worst_cpu, codes = 0.0, 0.0, 0.0, Counter()
    for number in range(first, first + count):
        place = folder / str(number)
        outcome = case(kind, number, place)
        shutil.rmtree(place)
        found = wrong(outcome, good.megabytes) or ("slow" if outcome.cpu > 10 + good.cpu else "")
        if found:
            said = outcome.said.strip().splitlines()[-1:]
            what = f"{outcome.code}, {outcome.megabytes:.0f} MB, {outcome.seconds:.1f} s"
            print(f"  {kind} {number}: {found}; {what} {said}")
        worst_mb, worst_s = max(worst_mb, outcome.megabytes), max(worst_s, outcome.seconds)
        worst_cpu = max(worst_cpu, outcome.cpu)
        codes[outcome.code] += 1
    ends = ", ".join(f"{code}: {times}" for code, times in sorted(codes.items()))
    times = f"{good.seconds:.1f} | {worst_s:.1f} | {good.cpu:.1f} | {worst_cpu:.1f}"
    return f"| {kind} | {count} | {good.megabytes:.0f} | {worst_mb:.0f} | {times} | {ends} |"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("kinds", nargs="*", default=[*KINDS], help="words of the kinds wanted")
    parser.add_argument("--count", type=int, default=200)
    parser.add_argument("--first", type=int, default=0)
    words = parser.parse_args()
    rows = []
    for kind in KINDS:
        if any(word in kind for word in words.kinds):
            with tempfile.TemporaryDirectory() as folder:
                rows.append(row(kind, words.first, words.count, Path(folder)))
                print(rows[-1], flush=True)
    print(HEAD)
    print("\n".join(rows))


if __name__ == "__main__":
    main()
