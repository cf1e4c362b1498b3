"""Invariant 3: the same inputs give the same bytes, whatever computes them."""

import itertools
import shutil
import subprocess

from support import FEATURES, NLIST, Lake, LakeTest, environment

# Which engines and SIMD levels this CPU has is tarn's to say: one it lacks is refused.
ENGINES = ("int8", "bf16", "sgemm", "scalar")
LEVELS = ("portable", "avx2", "avx512")
THREADS = ("1", "2", "3")


class SameBytes(LakeTest):
    """Every engine, SIMD level, number of threads and interruption."""

    def synced(self) -> Lake:
        lake = self.new_lake("template")
        for name, kind, modality in (("images", "img_emb", "image"), ("captions", "text_emb", "text")):
            lake.run("source", "add", name, "--directory", FEATURES / kind, "--dimension", 512, "--modality", modality)
        lake.run("sync")
        return lake

    def copy(self, template: Lake, name: str) -> Lake:
        shutil.copytree(template.directory, self.scratch / name)
        return Lake(self.scratch / name)

    def results(self, lake: Lake, nlist: int, **environ: str) -> tuple[str, ...]:
        lake.run(
            "train", "clip", "--images", "images", "--captions", "captions", "--nlist", nlist, "--iterations", 4, **environ)
        lake.build(**environ)
        (trained,) = lake.rows("SELECT sha256 FROM v_trained_index WHERE trained_index = 'clip'")
        outputs = lake.rows("SELECT sha256 FROM v_output_shard ORDER BY output")
        (version,) = lake.rows("SELECT sha256 FROM v_version")
        return (trained["sha256"], *(row["sha256"] for row in outputs), version["sha256"])

    def test_every_engine_and_thread_count_gives_the_same_bytes(self) -> None:
        template = self.synced()
        expected, tried = {}, []
        # 1,000 lists are enough for the int8 engine not to leave the work to another.
        for nlist in (NLIST, 1000):
            for engine, level, threads in itertools.product(ENGINES, LEVELS, THREADS):
                if threads == "3" and level != "avx512":
                    continue
                steer = {"TARN_ENGINE": engine, "TARN_SIMD": level, "TARN_THREADS": threads}
                lake = self.copy(template, "-".join((str(nlist), engine, level, threads)))
                probe = lake.attempt(
                    "train", "probe", "--images", "images", "--nlist", 1, "--iterations", 1, "--method", "kmeans", **steer)
                if probe.returncode == 0:
                    found = self.results(lake, nlist, **steer)
                    expected.setdefault(nlist, found)
                    self.assertEqual(found, expected[nlist], f"{nlist} lists, {steer}")
                    tried.append((nlist, engine, level, threads))
                else:
                    # Refused before any work, in one line.
                    self.assertIn("TARN_", probe.stderr)
                shutil.rmtree(lake.directory)
        engines = {engine for _, engine, _, _ in tried}
        self.assertLessEqual({"sgemm", "scalar"}, engines)
        print(f"same bytes: {len(tried)} combinations of {', '.join(sorted(engines))}, 1 digest each for {len(expected)} sizes")

    def test_builds_at_the_same_time_give_the_bytes_of_builds_alone(self) -> None:
        template = self.synced()
        alone = self.results(self.copy(template, "alone"), NLIST)
        lakes = [(self.copy(template, f"together-{threads}"), threads) for threads in THREADS]
        for command in (
            ("train", "clip", "--images", "images", "--captions", "captions", "--nlist", NLIST, "--iterations", 4),
            ("build", "clips", "--trained", "clip", "--images", "images", "--shards-per-output", 2)):
            running = [
                subprocess.Popen(
                    lake.command(*command), env=environment(TARN_THREADS=threads), stdin=subprocess.DEVNULL,
                    stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, cwd=lake.directory.parent)
                for lake, threads in lakes]
            for process in running:
                _, error = process.communicate(timeout=300)
                self.assertEqual(process.returncode, 0, error)
        for lake, threads in lakes:
            self.assertEqual(self.results(lake, NLIST), alone, f"{threads} threads")

    def test_a_run_that_was_killed_often_gives_the_same_bytes(self) -> None:
        template = self.synced()
        expected = self.results(self.copy(template, "undisturbed"), NLIST)
        lake = self.copy(template, "disturbed")
        commands = (
            ("train", "clip", "--images", "images", "--captions", "captions", "--nlist", NLIST, "--iterations", 4),
            ("build", "clips", "--trained", "clip", "--images", "images", "--shards-per-output", 2))
        kills = 0
        for command in commands:
            # Each attempt gets a little further than the last, then dies.
            for step in itertools.count(3, 3):
                done = subprocess.run(
                    lake.command(*command), env=environment(TARN_FAULT=f"kill@{step}", TARN_THREADS=str(1 + step % 2)),
                    stdin=subprocess.DEVNULL, capture_output=True, timeout=300, cwd=lake.directory.parent)
                if done.returncode == 0:
                    break
                kills += 1
        self.assertGreater(kills, 5)
        self.assertEqual(self.results(lake, NLIST), expected)
