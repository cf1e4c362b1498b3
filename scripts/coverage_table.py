#!/usr/bin/env python3
"""Prints which lines of modules the tests reached, a line for each module.

    coverage_table.py LCOV UNREACHED MODULE…

UNREACHED gets the lines that nothing reached, PATH:LINE: TEXT, those that throw an error
first. Fails with 1 when a module is below 85 % of its lines.
"""

import pathlib
import re
import sys

WANTED = 85.0


def main() -> int:
    lcov, unreached, *modules = sys.argv[1:]
    reached: dict[str, dict[int, bool]] = {}
    path = ""
    for line in pathlib.Path(lcov).read_text().splitlines():
        if line.startswith("SF:"):
            path = line[3:]
        elif line.startswith("DA:"):
            number, count = map(int, line[3:].split(",")[:2])
            lines = reached.setdefault(path, {})
            # The tool and the tests each have a count of the same line.
            lines[number] = lines.get(number, False) or count > 0
    rows = {module: [0, 0, 0, 0, 0] for module in modules}
    lists: dict[bool, list[str]] = {True: [], False: []}
    files: list[tuple[int, int, str]] = []
    for path, lines in sorted(reached.items()):
        _, found, place = path.partition("/Sources/")
        if not found or place.split("/")[0] not in rows:
            continue
        row = rows[place.split("/")[0]]
        text = pathlib.Path(path).read_text().splitlines()
        left = [number for number, is_reached in sorted(lines.items()) if not is_reached]
        throws = [number for number in lines if re.search(r"\bthrow\b", text[number - 1])]
        for place_in_row, more in enumerate([1, len(lines), len(lines) - len(left), len(throws)]):
            row[place_in_row] += more
        for number in left:
            row[4] += number in throws
            lists[number in throws].append(f"Sources/{place}:{number}: {text[number - 1].strip()}")
        files.append((len(left), len(lines), place))
    pathlib.Path(unreached).write_text("\n".join(lists[True] + lists[False]) + "\n")
    print(f"{'module':10}  files  lines  reached  percent  throws  reached")
    low = []
    for module, (number, total, count, throws, missed) in rows.items():
        percent = 100 * count / total if total else 0.0
        low += [module] if percent < WANTED else []
        print(f"{module:10}  {number:5}  {total:5}  {count:7}  {percent:7.1f}  {throws:6}  {throws - missed:7}")
    print("\nfiles with most lines that nothing reaches")
    for left, total, place in sorted(files, reverse=True)[:15]:
        print(f"  {left:5} of {total:5}  {place}")
    print(f"\nevery such line: {unreached}")
    if low:
        print(f"below {WANTED:.0f} %: {', '.join(low)}")
    return 1 if low else 0


if __name__ == "__main__":
    sys.exit(main())
