"""Whether the links of the pages lead somewhere: to a file, and to a heading of it."""

import pathlib
import re


def anchors(text: str) -> set[str]:
    """The names of a page's headings, as GitHub makes them."""
    found: dict[str, int] = {}
    inside = False
    for line in text.splitlines():
        if re.match(r" *```", line):
            inside = not inside
        heading = re.match(r"#+ (.*)", line)
        if heading and not inside:
            plain = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading[1]).strip().lower()
            name = re.sub(r"[^\w\- ]", "", plain).replace(" ", "-")
            found[name] = found.get(name, -1) + 1
    return {name + (f"-{number}" if number else "") for name, last in found.items() for number in range(last + 1)}


def broken(path: pathlib.Path) -> list[tuple[int, str]]:
    """Line, from 0, and target of each link of a page that leads nowhere."""
    found, inside = [], False
    for number, line in enumerate(path.read_text("utf-8").splitlines()):
        if re.match(r" *```", line):
            inside = not inside
        if inside:
            continue
        for target in re.findall(r"\]\(([^)\s]+)\)", re.sub(r"`[^`]*`", "", line)):
            if re.match(r"[a-z]+:", target):
                continue
            name, _, anchor = target.partition("#")
            page = (path.parent / name).resolve() if name else path
            if not page.exists() or anchor and page.suffix == ".md" and anchor not in anchors(page.read_text("utf-8")):
                found.append((number, target))
    return found
