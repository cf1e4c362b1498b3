"""One bash for one page: directory, variables and jobs last from block to block."""

import os
import pathlib
import re
import select
import signal
import subprocess
import time

# A command that has not ended by then hangs.
HANGS = 900
# How a bash that nobody types into says what a terminal's says in one word.
JOB_ENDED = re.compile(r"(?m)^bash: line \d+: +\d+ (Killed|Terminated) .*(?:\n[ \t]+.*)*$")


class Shell:
    """A bash in `home`, whose jobs end with it; a context manager."""

    def __init__(self, home: pathlib.Path, environment: dict[str, str]) -> None:
        self.script = home / ".docs-test"
        self.process = subprocess.Popen(
            ["bash", "--noprofile", "--norc"], cwd=home, env=environment, start_new_session=True,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)

    def run(self, command: str) -> tuple[int, str]:
        """Runs a command to its end: exit status, and what it printed on either stream."""
        self.script.write_text(command)
        # Standard input is the shell's, and no command's.
        self.process.stdin.write(f"eval \"$(<'{self.script}')\" </dev/null; printf '\\036%d\\036' $?\n".encode())
        self.process.stdin.flush()
        printed, deadline = b"", time.monotonic() + HANGS
        while not printed.endswith(b"\x1e"):
            ready, _, _ = select.select([self.process.stdout], [], [], max(0, deadline - time.monotonic()))
            if not ready:
                raise RuntimeError(f"has not ended within {HANGS} s: {command}")
            data = os.read(self.process.stdout.fileno(), 65536)
            if not data:
                raise RuntimeError(f"ended the shell: {command}")
            printed += data
        text, status = printed[:-1].rsplit(b"\x1e", 1)
        return int(status), JOB_ENDED.sub(r"\1", text.decode("utf-8", "replace"))

    def __enter__(self) -> "Shell":
        return self

    def __exit__(self, *_: object) -> None:
        try:
            os.killpg(self.process.pid, signal.SIGTERM)
            self.process.stdin.close()
            self.process.wait(timeout=20)
        except (ProcessLookupError, subprocess.TimeoutExpired, BrokenPipeError):
            pass
        try:
            os.killpg(self.process.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        self.process.wait()
        self.process.stdout.close()
