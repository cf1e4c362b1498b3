"""A disk that never fills, and what works when something else has filled it.

On file systems of 20 MB, tmpfs and ext4 in an image, every byte is taken before a durable
step of a command (TARN_FAULT=full@N:FILE, a fault that is the real thing: SQLite, part files
and outputs meet a disk without a byte). Then the lake is read, `evict` and `gc` give room back,
and with the room there again the same command ends with the bytes of a run that nothing
disturbed. The file systems are mounted where this process alone sees them.
"""

import ctypes
import hashlib
import os
import pathlib
import resource
import shutil
import subprocess
import tempfile
import unittest

import numpy as np

import support
from support import Lake, LakeTest, TARN

FULL = 28
ROWS, WIDTH, SHARDS = 400, 16, 3
EVERY_ROUND = bool(os.environ.get("TARN_TEST_FULL"))
CLONE_NEWNS = 0x00020000
READERS = [
    ["status"], ["doctor"], ["versions"], ["source", "list"], ["source", "show", "images"],
    ["sql", "SELECT count(*) FROM v_shard"], ["gc"], ["sync", "--dry-run"], ["schema"],
]
VERSION_READERS = [
    ["show", "v@1"], ["locate", "v@1", "0"], ["export", "v@1"], ["search", "v@1", "--queries", "{queries}"],
]


def run(*command: object) -> subprocess.CompletedProcess:
    return subprocess.run([str(part) for part in command], capture_output=True, text=True)


def why_no_mounts() -> str | None:
    """Why this process cannot mount; nil after it got a view of the mounts of its own."""
    if os.geteuid() != 0:
        return "file systems are mounted by root alone"
    if ctypes.CDLL(None, use_errno=True).unshare(CLONE_NEWNS) != 0:
        return f"no mounts of its own: {os.strerror(ctypes.get_errno())}"
    done = run("mount", "--make-rprivate", "/")
    return done.stderr.strip() or "mount failed" if done.returncode != 0 else None


class Volume:
    """A file system of 20 MB."""

    def __init__(self, kind: str, test: unittest.TestCase) -> None:
        parent = pathlib.Path(tempfile.mkdtemp(prefix="tarn-full-"))
        test.addCleanup(shutil.rmtree, parent, ignore_errors=True)
        self.path = parent / kind
        self.path.mkdir()
        if kind == "tmpfs":
            done = run("mount", "-t", "tmpfs", "-o", "size=20m", "none", self.path)
        else:
            image = parent / "image"
            with image.open("wb") as file:
                file.truncate(20 << 20)
            if shutil.which("mkfs.ext4", path="/usr/sbin:/sbin:" + os.environ["PATH"]) is None:
                test.skipTest("there is no mkfs.ext4")
            # No room that root alone has: then full is full.
            done = run("env", "PATH=/usr/sbin:/sbin:" + os.environ["PATH"], "mkfs.ext4", "-q", "-m", "0", image)
            if done.returncode == 0:
                done = run("mount", "-o", "loop", image, self.path)
        if done.returncode != 0:
            test.skipTest(f"no {kind} can be mounted here: {done.stderr.strip()}")
        test.addCleanup(run, "umount", self.path)
        self.filler = self.path / "filler"

    def free(self) -> int:
        room = os.statvfs(self.path)
        return room.f_bavail * room.f_frsize

    def fill(self, leaving: int = 0) -> None:
        """Takes all but so many bytes, what is left of blocks included."""
        with self.filler.open("ab") as file:
            piece = 1 << 24
            while piece >= 512:
                try:
                    if self.free() - piece < leaving:
                        raise OSError
                    os.posix_fallocate(file.fileno(), os.fstat(file.fileno()).st_size, piece)
                except OSError:
                    piece //= 2
            os.fsync(file.fileno())

    def release(self) -> None:
        self.filler.unlink(missing_ok=True)


class FullDisk(LakeTest):
    """Every command on a disk that fills up in its middle."""

    @classmethod
    def setUpClass(cls) -> None:
        cls.reason = why_no_mounts()

    def setUp(self) -> None:
        super().setUp()
        if self.reason:
            self.skipTest(self.reason)
        self.features = self.scratch / "features"
        random = np.random.default_rng(1)
        for kind, dtype in (("images", np.float16), ("captions", np.float32)):
            (self.features / kind).mkdir(parents=True)
            for ordinal in range(SHARDS):
                rows = random.standard_normal((ROWS, WIDTH))
                rows /= np.linalg.norm(rows, axis=1, keepdims=True)
                np.save(self.features / kind / f"{kind}_{ordinal}.npy", rows.astype(dtype))
        self.queries = self.scratch / "queries.npy"
        np.save(self.queries, np.load(self.features / "images" / "images_0.npy")[:2])

    # MARK: lakes

    # Which commands of those that read have their turn.
    turn = 0

    commands = {
        "sync": ["sync", "--quiet"],
        "train": ["train", "t", "--images", "images", "--captions", "captions", "--nlist", "4", "--iterations", "2",
                  "--quiet"],
        "build": ["build", "v", "--trained", "t", "--images", "images", "--shards-per-output", "2", "--quiet"],
        "gc": ["gc", "--segments", "--grace", "0s", "--apply", "--quiet"],
        "backup": ["backup", "{volume}/copy.sqlite"],
    }
    stages = ["registered", "sync", "train", "build"]

    def lakes(self) -> dict[str, pathlib.Path]:
        """A lake at each stage, on a disk with room."""
        lake = self.new_lake("registered")
        for kind, modality in (("images", "image"), ("captions", "text")):
            lake.run("source", "add", kind, "--directory", self.features / kind, "--modality", modality)
        found = {"registered": lake.directory}
        for stage in self.stages[1:]:
            place = self.scratch / stage
            shutil.copytree(lake.directory, place)
            lake = Lake(place)
            lake.run(*self.commands[stage])
            found[stage] = place
        return found

    def before(self, command: str) -> str:
        return {"sync": "registered", "train": "sync", "build": "train"}.get(command, "build")

    def place(self, original: pathlib.Path, volume: Volume) -> Lake:
        directory = volume.path / "lake"
        shutil.rmtree(directory, ignore_errors=True)
        for leftover in volume.path.glob("copy.sqlite*"):
            leftover.unlink()
        volume.release()
        # Not copytree: what the files have of room must be theirs.
        done = run("cp", "-a", original, directory)
        self.assertEqual(done.returncode, 0, done.stderr)
        return Lake(directory)

    def arguments(self, command: str, volume: Volume) -> list[str]:
        return [part.replace("{volume}", str(volume.path)) for part in self.commands[command]]

    def bytes_of(self, lake: Lake) -> dict[str, str]:
        """What is made for good: outputs, lock files, trained indexes; and the rows about shards."""
        found = {}
        kept = [path for kind in ("versions", "artifacts/outputs", "artifacts/trained")
                for path in sorted(lake.directory.glob(f"{kind}/**/*"))]
        for path in kept:
            # The document tells the time.
            if path.is_file() and not path.name.endswith(".export.json"):
                found[str(path.relative_to(lake.directory))] = hashlib.sha256(path.read_bytes()).hexdigest()
        shards = lake.rows("SELECT source, shard, state, sha256, bytes FROM v_shard ORDER BY 1, 2")
        return {**found, **{f"{row['source']}/{row['shard']}": repr(sorted(row.items())) for row in shards}}

    # MARK: what must hold

    def check_reading(self, lake: Lake, place: str) -> None:
        """Whatever reads works."""
        # Asked of tarn: others cannot open a catalog whose log has no room for its index.
        has_version = "v@1" in lake.run("sql", "SELECT version FROM v_version WHERE state = 'sealed'")
        readers = READERS + (VERSION_READERS if has_version else [])
        self.turn += 1
        for reader in readers if EVERY_ROUND else readers[self.turn % 4 :: 4]:
            command = [part.replace("{queries}", str(self.queries)) for part in reader]
            done = lake.attempt(*command)
            allowed = (0, FULL) if command == ["doctor"] else (0,)
            self.assertIn(done.returncode, allowed, f"{place}: {command}: {done.stderr}")

    def check_full(self, done: subprocess.CompletedProcess, volume: Volume, place: str) -> None:
        """It says that the disk is full, where, how much is missing and what can go."""
        self.assertEqual(done.returncode, FULL, f"{place}: {done.stdout}{done.stderr}")
        line = done.stderr.splitlines()[-1]
        for word in ("the disk is full", str(volume.path), "missing", "run it again"):
            self.assertIn(word, line, f"{place}: {done.stderr}")
        self.assertNotIn("Error(", done.stderr)

    def check_giving_back(self, lake: Lake, volume: Volume, place: str) -> None:
        """At 0 bytes free, evict and gc work, and give room back."""
        for command in (["verify", "--quiet"], ["evict", "captions"], ["gc", "--grace", "0s", "--apply", "--quiet"]):
            volume.fill()
            before = volume.free()
            done = lake.attempt(*command)
            self.assertEqual(done.returncode, 0, f"{place}: {command} at {before} bytes free: {done.stdout}{done.stderr}")
        volume.release()
        self.assertEqual(lake.rows("SELECT 1 FROM v_shard WHERE source = 'captions' AND state = 'present'"), [])
        self.assertEqual(lake.rows("PRAGMA integrity_check"), [{"integrity_check": "ok"}])

    def check_orphans(self, lake: Lake, place: str) -> None:
        done = lake.run("gc", "--json")
        self.assertIn('"unknown":[]', done, f"{place}: {done}")

    def fill_at_every_step(self, kind: str, stride: int) -> None:
        volume = Volume(kind, self)
        lakes = self.lakes()
        tried = 0
        for number, command in enumerate(self.commands):
            lake = self.place(lakes[self.before(command)], volume)
            lake.run(*self.arguments(command, volume))
            lake.run("sync", "--quiet")
            expected = self.bytes_of(lake)
            step = 1 + (0 if EVERY_ROUND else number % stride)
            while True:
                lake = self.place(lakes[self.before(command)], volume)
                log = self.scratch / "steps"
                log.unlink(missing_ok=True)
                place = f"{kind}, {command}, full before step {step}"
                done = lake.attempt(
                    *self.arguments(command, volume), TARN_FAULT=f"full@{step}:{volume.filler}", TARN_FAULT_LOG=str(log))
                steps = len(log.read_text().splitlines())
                if steps < step:
                    self.assertEqual(done.returncode, 0, done.stderr)
                    break
                tried += 1
                if done.returncode != 0:
                    self.check_full(done, volume, place)
                volume.fill()
                self.check_reading(lake, place)
                self.check_giving_back(lake, volume, place)
                # The copy of a build that was sealed is not made again, nor what gc took.
                lake.run("sync", "--quiet")
                lake.run(*self.arguments(command, volume))
                self.assertEqual(self.bytes_of(lake), expected, place)
                self.check_orphans(lake, place)
                step += 1 if EVERY_ROUND else stride
            self.assertGreater(step, 2, command)
        print(f"full disk: {kind}, {tried} steps filled")

    def test_a_tmpfs_filled_at_every_step(self) -> None:
        self.fill_at_every_step("tmpfs", 7)

    def test_an_ext4_filled_at_every_step(self) -> None:
        self.fill_at_every_step("ext4", 11)


class OpenFiles(LakeTest):
    """An output of more shards than files may be open."""

    def test_the_limit_is_raised_or_told_before_work(self) -> None:
        count, limit = 400, 350
        features = self.scratch / "features"
        features.mkdir()
        rows = np.random.default_rng(3).standard_normal((4, 8))
        rows /= np.linalg.norm(rows, axis=1, keepdims=True)
        for ordinal in range(count):
            np.save(features / f"{ordinal:04}.npy", np.roll(rows, ordinal, 1).astype(np.float32) * (1 - ordinal % 2 * 2))
        lake = self.new_lake()
        lake.run("source", "add", "images", "--directory", features, "--modality", "image")
        lake.run("sync", "--quiet")
        lake.run("train", "t", "--images", "images", "--nlist", 2, "--method", "kmeans", "--normalise", "--quiet")
        build = lake.command("build", "v", "--trained", "t", "--images", "images", "--shards-per-output", 3000)
        _, most = resource.getrlimit(resource.RLIMIT_NOFILE)

        def run_limited(hard: int) -> subprocess.CompletedProcess:
            return subprocess.run(
                build, env=support.environment(), stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=300,
                preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (limit, hard)))

        refused = run_limited(limit)
        self.assertEqual(refused.returncode, support.USAGE, refused.stderr)
        for word in (f"{count} files", f"may open {limit}", "lower --shards-per-output", "ulimit -n"):
            self.assertIn(word, refused.stderr)
        self.assertEqual(lake.rows("SELECT 1 FROM v_version"), [])
        self.assertEqual(list((lake.directory / "artifacts" / "segments").glob("**/*.*")), [])
        if most <= count + 256:
            self.skipTest(f"no more than {most} files may be open here")
        raised = run_limited(most)
        self.assertEqual(raised.returncode, 0, raised.stderr)
        self.assertEqual(len(lake.outputs("v@1")), 1)


if __name__ == "__main__":
    unittest.main()
