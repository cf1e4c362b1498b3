"""The pages in a real browser: what is drawn has a size and colours, light and dark."""

import re
import shutil
import subprocess
import unittest

from support import FEATURES, LakeTest

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")


def png_colours(path) -> int:
    """How many colours a screenshot has, by way of its raw scan lines."""
    import struct
    import zlib
    data = path.read_bytes()
    width, height, depth, kind = struct.unpack(">IIBB", data[16:26])
    assert (depth, kind) in ((8, 2), (8, 6)), (depth, kind)
    size = 3 if kind == 2 else 4
    packed, at = b"", 8
    while at < len(data):
        (length,) = struct.unpack(">I", data[at:at + 4])
        if data[at + 4:at + 8] == b"IDAT":
            packed += data[at + 8:at + 8 + length]
        at += 12 + length
    raw = bytearray(zlib.decompress(packed))
    stride, previous, colours = width * size, bytearray(width * size), set()
    for row in range(height):
        start = row * (stride + 1)
        kind, line = raw[start], raw[start + 1:start + 1 + stride]
        for i in range(stride):
            left = line[i - size] if i >= size else 0
            up, corner = previous[i], previous[i - size] if i >= size else 0
            if kind == 1:
                line[i] = (line[i] + left) & 255
            elif kind == 2:
                line[i] = (line[i] + up) & 255
            elif kind == 3:
                line[i] = (line[i] + (left + up) // 2) & 255
            elif kind == 4:
                guess = left + up - corner
                distances = (abs(guess - left), abs(guess - up), abs(guess - corner))
                line[i] = (line[i] + (left, up, corner)[distances.index(min(distances))]) & 255
        colours.update(bytes(line[i:i + 3]) for i in range(0, stride, size))
        previous = line
    return len(colours)


@unittest.skipUnless(CHROMIUM, "chromium is not installed")
class Pages(LakeTest):
    def browse(self, page, *options: str) -> str:
        done = subprocess.run(
            [CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--window-size=700,900",
             f"--user-data-dir={self.scratch}/profile", *options, page.as_uri()],
            capture_output=True, text=True, timeout=120)
        self.assertEqual(done.returncode, 0, done.stderr[-500:])
        return done.stdout

    def test_a_report_is_drawn_in_light_and_dark(self) -> None:
        lake = self.built_lake(self.serve(FEATURES).url)
        page, shards = self.scratch / "report.html", self.scratch / "shards.html"
        lake.run("evaluate", "clips@1", "--queries", FEATURES / "queries.npy", "--nprobe", "1,4,16", "--report", page)
        lake.run("status", "--report", shards)
        dom = self.browse(page, "--dump-dom")
        self.assertEqual(len(re.findall(r'<polyline class="recall', dom)), 2)
        self.assertEqual(len(re.findall(r'<rect class="s-merged', dom)), 6)
        self.assertEqual(len(re.findall(r'<rect class="s-present', self.browse(shards, "--dump-dom"))), 12)
        pictures = []
        for name, *options in (("light",), ("dark", "--force-dark-mode", "--blink-settings=preferredColorScheme=0")):
            picture = self.scratch / f"{name}.png"
            self.browse(page, f"--screenshot={picture}", *options)
            self.assertGreater(png_colours(picture), 20, f"{name}: hardly anything is drawn")
            pictures.append(picture.read_bytes())
        self.assertNotEqual(*pictures)
