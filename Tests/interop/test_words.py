"""Searching with words: the example encoder and a service, against NumPy."""

import contextlib
import http.server
import json
import pathlib
import subprocess
import sys
import tempfile
import threading
import unittest

import numpy as np

from support import FAILURE, FEATURES, ROOT, USAGE, Lake

ENCODERS = ROOT / "Examples" / "encoders"
NGRAMS = ENCODERS / "ngrams.py"
ENCODER = f"{sys.executable} {NGRAMS}"
TEMPORARY = 75

sys.path.insert(0, str(ENCODERS))
import ngrams  # noqa: E402


@contextlib.contextmanager
def service(answer):
    """A server on this machine that answers every POST with `answer(request, body)`: status and bytes."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self):
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            asked.append((self.path, dict(self.headers), body))
            status, reply = answer(body)
            self.send_response(status)
            self.send_header("Content-Length", str(len(reply)))
            self.end_headers()
            self.wfile.write(reply)

        def log_message(self, *arguments):
            pass

    asked: list = []
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/v1/embeddings", asked
    finally:
        server.shutdown()
        server.server_close()


def embeddings(body) -> tuple[int, bytes]:
    """As OpenAI answers, the last text first."""
    data = [{"object": "embedding", "index": index, "embedding": ngrams.hashed(text, ngrams.DIMENSION)}
            for index, text in enumerate(body["input"])]
    return 200, json.dumps({"object": "list", "data": data[::-1], "model": body.get("model")}).encode()


class Words(unittest.TestCase):
    @classmethod
    def setUpClass(cls) -> None:
        cls.scratch = tempfile.TemporaryDirectory(prefix="tarn-words-")
        cls.addClassCleanup(cls.scratch.cleanup)
        root = pathlib.Path(cls.scratch.name)
        (root / "names").mkdir()
        cls.names = []
        for number in range(6):
            metadata = FEATURES / "metadata" / f"metadata_{number:04}.txt"
            out = root / "names" / f"names_{number:04}.npy"
            subprocess.run([sys.executable, NGRAMS, "--features", metadata, out], check=True)
            cls.names += [line.split("\t")[-1] for line in metadata.read_text("utf-8").splitlines()]
        cls.rows = np.concatenate([np.load(path) for path in sorted((root / "names").iterdir())]).astype(np.float32)
        cls.lake = Lake(root / "lake")
        cls.lake.run("init", cls.lake.directory)
        cls.lake.run("source", "add", "names", "--directory", root / "names", "--modality", "other")
        cls.lake.run("sync")
        cls.lake.run("train", "names", "--images", "names", "--method", "kmeans", "--nlist", 16, "--codec", "flat")
        cls.lake.run("build", "names", "--trained", "names", "--images", "names", "--shards-per-output", 2)

    def search(self, *arguments, exits: int = 0, **environ) -> list[dict]:
        text = self.lake.run(
            "search", "names@1", *arguments, "--nprobe", 16, "--json", exits=exits, **environ)
        return [json.loads(line) for line in text.splitlines()] if exits == 0 else []

    def complaint(self, *arguments, **environ) -> tuple[int, str]:
        done = self.lake.attempt("search", "names@1", *arguments, **environ)
        self.assertEqual(len(done.stderr.splitlines()), 1, done.stderr)
        return done.returncode, done.stderr

    def nearest(self, text: str, k: int) -> np.ndarray:
        scores = self.rows @ np.array(ngrams.hashed(text, ngrams.DIMENSION), np.float32)
        return np.sort(scores)[::-1][:k]

    def test_features_and_questions_are_made_alike(self) -> None:
        self.assertEqual(len(self.rows), len(self.names))
        for row in (0, 17, 3599):
            made = np.array(ngrams.hashed(self.names[row], ngrams.DIMENSION), np.float16)
            np.testing.assert_array_equal(self.rows[row], made.astype(np.float32))

    def test_a_typed_word_finds_pictures_of_that_name(self) -> None:
        texts = ["strawberry", "sailing boat", "flag of africa"]
        found = self.search(*[word for text in texts for word in ("--text", text)], "-k", 5, "--encoder", ENCODER)
        self.assertEqual([one["text"] for one in found], texts)
        for text, one in zip(texts, found):
            np.testing.assert_allclose(one["scores"], self.nearest(text, 5), atol=1e-5)
            self.assertTrue(set(text.split()) & set(words_of(self.names[one["ids"][0]])), one)
        self.assertIn("strawberry", self.names[found[0]["ids"][0]])
        self.assertIn("strawberry", self.names[found[0]["ids"][1]])

    def test_a_service_gives_the_same_rows(self) -> None:
        texts = [f"{name} {number}" for number, name in enumerate(self.names[:70])]
        words = [word for text in texts for word in ("--text", text)]
        with service(embeddings) as (url, asked):
            found = self.search(*words, "-k", 3, "--encoder", url, "--encoder-model", "n", TARN_ENCODER_KEY="sesame")
        self.assertEqual(found, self.search(*words, "-k", 3, "--encoder", ENCODER))
        self.assertEqual([len(body["input"]) for _, _, body in asked], [32, 32, 6])
        for path, headers, body in asked:
            self.assertEqual(path, "/v1/embeddings")
            self.assertEqual(headers["Authorization"], "Bearer sesame")
            self.assertEqual((body["model"], body["encoding_format"]), ("n", "float"))

    def test_what_a_service_says_is_told_in_one_line(self) -> None:
        wrong = json.dumps({"error": {"message": "Incorrect API key provided: sesame"}}).encode()
        for answer, code, says in [
            ((401, wrong), FAILURE, "TARN_ENCODER_KEY"), ((404, b""), FAILURE, "HTTP 404"),
            ((429, b""), TEMPORARY, "HTTP 429"), ((500, b"<html>"), TEMPORARY, "HTTP 500"),
            ((200, b"{}"), FAILURE, "/v1/embeddings"), ((200, b"\xff"), FAILURE, "no JSON"),
        ]:
            with self.subTest(answer), service(lambda body: answer) as (url, asked):
                got, text = self.complaint("--text", "x", "--encoder", url, TARN_ENCODER_KEY="sesame")
                self.assertEqual(got, code, text)
                self.assertIn(says, text)
                self.assertNotIn("sesame", text)
                self.assertEqual(len(asked), 3 if code == TEMPORARY else 1)

    def test_unique_is_what_numpy_says(self) -> None:
        for text in ("flag of africa", "woman, medium skin tone emoji", "account, line icon"):
            everything = self.search("--text", text, "-k", 16 * 8, "--encoder", ENCODER)[0]["ids"]
            rows = self.rows[everything].astype(np.float64)
            rows /= np.linalg.norm(rows, axis=1, keepdims=True)
            for threshold in (0.5, 0.8, 0.94):
                kept: list[int] = []
                for place in range(len(rows)):
                    if not any(rows[place] @ rows[other] >= threshold for other in kept):
                        kept.append(place)
                (found,) = self.search("--text", text, "-k", 8, "--unique", threshold, "--encoder", ENCODER)
                self.assertEqual(found["ids"], [everything[place] for place in kept[:8]], (text, threshold))

    def test_like_is_the_row_itself(self) -> None:
        (found,) = self.search("--like", 1234, "-k", 4)
        self.assertEqual((found["ids"][0], found["vector"]), (1234, "shard"))
        np.testing.assert_allclose(found["scores"], np.sort(self.rows @ self.rows[1234])[::-1][:4], atol=1e-5)

    def test_no_lake_names_an_encoder(self) -> None:
        code, text = self.complaint("--text", "x")
        self.assertEqual(code, USAGE)
        self.assertIn("--encoder", text)
        self.assertTrue(self.search("--text", "cat", TARN_ENCODER=ENCODER))

    def test_the_encoder_answers_bad_lines_and_goes_on(self) -> None:
        lines = ['{"text": "?", "id": 4}', '{"image": "/x"}', '{"text": "cat"}']
        done = subprocess.run(
            [sys.executable, NGRAMS], input="\n".join(lines) + "\n", capture_output=True, text=True, check=True)
        first, second, third = [json.loads(line) for line in done.stdout.splitlines()]
        self.assertEqual((first["id"], "error" in first, "error" in second), (4, True, True))
        self.assertEqual(third, {"embedding": ngrams.hashed("cat", ngrams.DIMENSION)})


def words_of(text: str) -> list[str]:
    return "".join(c if c.isalnum() else " " for c in text.lower()).split()


if __name__ == "__main__":
    unittest.main()
