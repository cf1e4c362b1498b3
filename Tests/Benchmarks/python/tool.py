"""The tarn that benchmarks measure, and one way to run it: TARN names it (default: .build/release)."""

import os
import pathlib
import subprocess

ROOT = pathlib.Path(__file__).resolve().parents[3]
# Another build's, where builds are compared.
TARN = os.environ.get("TARN", str(ROOT / ".build" / "release" / "tarn"))


def said(*arguments: object, cwd: pathlib.Path | None = None, **environ: str) -> tuple[str, str]:
    """What it prints and what it says beside; whatever is no success ends the benchmark with both."""
    done = subprocess.run(
        [TARN, *map(str, arguments)], capture_output=True, text=True, cwd=cwd, env={**os.environ, **environ})
    if done.returncode != 0:
        raise SystemExit(f"tarn {' '.join(map(str, arguments))}\n{done.stdout}{done.stderr}")
    return done.stdout, done.stderr


def tarn(*arguments: object, cwd: pathlib.Path | None = None, **environ: str) -> str:
    """What it prints."""
    return said(*arguments, cwd=cwd, **environ)[0]
