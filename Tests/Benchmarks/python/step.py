"""One command of tarn, watched: what it says and when, and the memory that it takes."""

import pathlib
import re
import subprocess
import sys
import threading
import time

from tool import TARN


class Step:
    """A command of tarn: when each line of its progress came, and what memory it took."""

    def __init__(self, lake: pathlib.Path, *arguments: object) -> None:
        words = [str(word) for word in arguments]
        print("$ tarn " + " ".join(words), flush=True)
        self.lines: list[tuple[float, str]] = []
        self.anonymous = self.mapped = 0
        begin = time.monotonic()
        process = subprocess.Popen([TARN, *words, "--lake", lake], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
        reader = threading.Thread(target=lambda: self.lines.extend((time.monotonic() - begin, line) for line in process.stderr))
        reader.start()
        while process.poll() is None:
            self._look(process.pid)
            time.sleep(0.05)
        self.seconds = time.monotonic() - begin
        reader.join()
        if process.returncode != 0:
            sys.exit("".join(line for _, line in self.lines) + f"exits with {process.returncode}")
        print(f"  {self.seconds:.0f} s, {self.anonymous / 1e6:.0f} MB of its own at most, {self.mapped / 1e6:.0f} MB of mapped files", flush=True)

    def _look(self, number: int) -> None:
        try:
            status = pathlib.Path("/proc", str(number), "status").read_text()
        except OSError:
            return
        found = dict(re.findall(r"^Rss(Anon|File):\s+(\d+) kB", status, re.M))
        self.anonymous = max(self.anonymous, int(found.get("Anon", 0)) << 10)
        self.mapped = max(self.mapped, int(found.get("File", 0)) << 10)

    def times(self, pattern: str) -> list[float]:
        """When lines came that begin so."""
        return [at for at, line in self.lines if re.match(pattern, line)]
