"""Archives of NumPy's and columns of parquet as feature files, and every form converted to every other."""

import io
import itertools
import json
import os
import pathlib
import signal
import struct
import subprocess
import sys
import tempfile
import time
import unittest
import zipfile

import duckdb
import fastparquet
import numpy as np
import pyarrow.parquet as pq

from support import TARN, USAGE, environment


class ConvertTest(unittest.TestCase):
    def setUp(self) -> None:
        directory = tempfile.TemporaryDirectory(prefix="tarn-convert-")
        self.addCleanup(directory.cleanup)
        self.directory = pathlib.Path(directory.name)
        self.random = np.random.default_rng(11)

    def rows(self, count: int, dimension: int, dtype: str) -> np.ndarray:
        if dtype in ("uint8", "int8"):
            return self.random.integers(0 if dtype == "uint8" else -128, 127, (count, dimension)).astype(dtype)
        return self.random.standard_normal((count, dimension)).astype(dtype)

    def attempt(self, source: object, target: object, *options: str, **environ: str) -> subprocess.CompletedProcess:
        return subprocess.run(
            [str(TARN), "convert", str(source), str(target), "--json", *options], env=environment(**environ),
            stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=300, cwd=self.directory)

    def convert(self, source: object, target: object, *options: str) -> dict:
        done = self.attempt(source, target, *options)
        self.assertEqual(done.returncode, 0, done.stderr)
        return json.loads(done.stdout)

    def refuse(self, source: object, says: str, *options: str, target: str = "refused.npy") -> None:
        done = self.attempt(source, self.directory / target, *options)
        self.assertNotEqual(done.returncode, 0)
        self.assertEqual(len(done.stderr.splitlines()), 1, done.stderr)
        self.assertIn(says, done.stderr)
        self.assertFalse((self.directory / target).exists())


class NpzTests(ConvertTest):
    """What numpy and zipfile write, by every way they have."""

    def written(self, arrays: dict[str, np.ndarray]) -> dict[str, bytes]:
        forms = {}
        for name, save in (("stored", np.savez), ("deflated", np.savez_compressed)):
            file = io.BytesIO()
            save(file, **arrays)
            forms[name] = file.getvalue()

        class Pipe(io.RawIOBase):
            """What cannot go back, so that sizes stand behind the entries."""

            def __init__(self) -> None:
                self.bytes = bytearray()

            def writable(self) -> bool:
                return True

            def write(self, data: object) -> int:
                self.bytes += data
                return len(data)

        for method, name in ((zipfile.ZIP_STORED, "stored, streamed"), (zipfile.ZIP_DEFLATED, "deflated, streamed")):
            for force in (False, True):
                pipe = Pipe()
                with zipfile.ZipFile(pipe, "w", method) as archive:
                    for key, value in arrays.items():
                        with archive.open(key + ".npy", "w", force_zip64=force) as entry:
                            np.save(entry, value)
                forms[f"{name}, zip64 {force}"] = bytes(pipe.bytes)
        for level in (1, 9):
            file = io.BytesIO()
            with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED, compresslevel=level) as archive:
                for key, value in arrays.items():
                    data = io.BytesIO()
                    np.save(data, value)
                    archive.writestr(key + ".npy", data.getvalue())
            forms[f"level {level}"] = file.getvalue()
        return forms

    def test_every_way_to_write_an_archive_gives_the_array(self) -> None:
        arrays = {
            "b32_img": self.rows(700, 12, "float16"), "l14_txt": self.rows(700, 24, "float32"),
            "double": self.rows(3, 5, "float64"), "bytes": self.rows(40, 300, "uint8"), "zeros": np.zeros((900, 64), "float16"),
            "empty": np.zeros((0, 7), "float32"), "größe/two": self.rows(9, 2, "int8"),
            "dedup": np.arange(700, dtype=np.uint32), "records": np.zeros(3, [("a", "u8"), ("b", "u8")]),
        }
        for (form, data), number in zip(self.written(arrays).items(), itertools.count()):
            path = self.directory / f"{number}.npz"
            path.write_bytes(data)
            for key, value in arrays.items():
                if key in ("dedup", "records"):
                    self.refuse(path, f"array '{key}'", "--array", key)
                    continue
                target = self.directory / f"{number}-{key.replace('/', '-')}.npy"
                self.convert(path, target, "--array", key)
                found = np.load(target)
                self.assertEqual(found.dtype, value.dtype, (form, key))
                self.assertEqual(found.tobytes(), value.tobytes(), (form, key))
                self.assertEqual(found.shape, value.shape)
            self.refuse(path, "say --array NAME: it has b32_img, l14_txt")
            self.refuse(path, "it has no array 'l14_img'", "--array", "l14_img")

    def test_other_methods_and_damage_are_refused_by_name(self) -> None:
        data = io.BytesIO()
        np.save(data, self.rows(50, 8, "float32"))
        path = self.directory / "a.npz"
        for method, name in ((zipfile.ZIP_BZIP2, "bzip2"), (zipfile.ZIP_LZMA, "lzma")):
            with zipfile.ZipFile(path, "w", method) as archive:
                archive.writestr("a.npy", data.getvalue())
            self.refuse(path, f"compressed with {name}, which tarn does not read")
        np.savez(path, a=np.asfortranarray(self.rows(50, 8, "float32")))
        self.refuse(path, "Fortran order")
        np.savez_compressed(path, a=self.rows(5000, 8, "float32"))
        good = path.read_bytes()
        for _ in range(60):
            place = int(self.random.integers(0, len(good)))
            path.write_bytes(good[:place] + bytes([good[place] ^ 1 << int(self.random.integers(0, 8))]) + good[place + 1:])
            target = self.directory / "damaged.npy"
            done = self.attempt(path, target, "--array", "a")
            if done.returncode == 0:
                np.testing.assert_array_equal(np.load(target), np.load(io.BytesIO(good))["a"])
                target.unlink()
            else:
                self.assertEqual(len(done.stderr.splitlines()), 1)
            self.assertFalse(target.exists())

    def test_an_array_is_unpacked_in_little_memory(self) -> None:
        rows = np.repeat(self.rows(1000, 512, "float16"), 300, axis=0)
        np.savez_compressed(self.directory / "a.npz", a=rows)
        self.convert("a.npz", "a.parquet")
        for source in ("a.npz", "a.parquet"):
            # In a process of its own: what is begun from a large one counts as that large.
            watch = ("import os, sys; pid = os.posix_spawn(sys.argv[1], sys.argv[1:], os.environ); "
                     "_, status, usage = os.wait4(pid, 0); print(usage.ru_maxrss); sys.exit(os.waitstatus_to_exitcode(status))")
            done = subprocess.run(
                [sys.executable, "-c", watch, str(TARN), "convert", source, source + ".npy"], env=environment(),
                capture_output=True, text=True, cwd=self.directory, check=False)
            self.assertEqual(done.returncode, 0, done.stderr)
            self.assertLess(int(done.stdout.split()[-1]) * 1024, rows.nbytes / 2, source)
            np.testing.assert_array_equal(np.load(self.directory / (source + ".npy")), rows)


def read(path: pathlib.Path) -> np.ndarray:
    """The rows of a file, without tarn."""
    kinds = {"fbin": "float32", "f16bin": "float16", "u8bin": "uint8", "i8bin": "int8", "fvecs": "float32", "bvecs": "uint8"}
    form = path.suffix[1:]
    data = path.read_bytes()
    if form == "npy":
        return np.load(path)
    if form == "npz":
        with np.load(path) as archive:
            return archive[archive.files[0]]
    if form == "safetensors":
        length = struct.unpack("<Q", data[:8])[0]
        (name, tensor), = json.loads(data[8:8 + length]).items()
        dtype = {"F16": "float16", "F32": "float32", "F64": "float64", "U8": "uint8", "I8": "int8"}[tensor["dtype"]]
        assert name == "features" and length % 8 == 0
        return np.frombuffer(data[8 + length:], dtype).reshape(tensor["shape"])
    if form.endswith("bin"):
        shape = struct.unpack("<II", data[:8])
        return np.frombuffer(data[8:], kinds[form]).reshape(shape)
    if form in ("fvecs", "bvecs"):
        dimension = struct.unpack("<I", data[:4])[0]
        dtype = np.dtype([("dimension", "<u4"), ("row", kinds[form], dimension)])
        found = np.frombuffer(data, dtype)
        assert (found["dimension"] == dimension).all()
        return found["row"]
    column = pq.read_table(path)["features"]
    return np.array(column.to_pylist(), column.type.value_type.to_pandas_dtype())


class FormsTests(ConvertTest):
    HOLDS = {
        "npy": ("float16", "float32", "float64", "uint8", "int8"), "npz": ("float16", "float32", "float64", "uint8", "int8"),
        "safetensors": ("float16", "float32", "float64", "uint8", "int8"), "fbin": ("float32",), "f16bin": ("float16",),
        "u8bin": ("uint8",), "i8bin": ("int8",), "fvecs": ("float32",), "bvecs": ("uint8",),
        "parquet": ("float16", "float32", "float64"),
    }

    def test_every_form_becomes_every_other(self) -> None:
        forms = self.HOLDS
        for dtype in ("float16", "float32", "float64", "uint8", "int8"):
            for dimension in (1, 2, 37):
                rows = self.rows(301, dimension, dtype)
                folder = self.directory / f"{dtype}-{dimension}"
                folder.mkdir()
                np.save(folder / "first.npy", rows)
                holding = [form for form, kinds in forms.items() if dtype in kinds]
                for form in holding:
                    answer = self.convert(folder / "first.npy", folder / f"a.{form}")
                    self.assertEqual((answer["rows"], answer["dimension"], answer["dtype"]), (301, dimension, dtype))
                    found = read(folder / f"a.{form}")
                    self.assertEqual((found.dtype, found.shape), (rows.dtype, rows.shape), form)
                    self.assertEqual(found.tobytes(), rows.tobytes(), form)
                for source, target in itertools.product(holding, holding):
                    self.convert(folder / f"a.{source}", folder / f"{source}.{target}")
                    self.assertEqual(
                        (folder / f"{source}.{target}").read_bytes(), (folder / f"a.{target}").read_bytes(), (source, target))
                for form in set(forms) - set(holding):
                    done = self.attempt(folder / "first.npy", folder / f"no.{form}")
                    self.assertEqual(done.returncode, USAGE, done.stderr)
                    self.assertIn(f"does not hold {dtype}", done.stderr)
                    self.assertFalse((folder / f"no.{form}").exists())

    def test_elements_become_what_they_count_as(self) -> None:
        for dtype, target in itertools.product(("float16", "float32", "float64", "uint8", "int8"), ("float16", "float32")):
            rows = self.rows(2000, 7, dtype)
            np.save(self.directory / f"{dtype}.npy", rows)
            self.convert(self.directory / f"{dtype}.npy", self.directory / f"{dtype}-{target}.npy", "--dtype", target)
            found = np.load(self.directory / f"{dtype}-{target}.npy")
            expected = rows if dtype == target else rows.astype(np.float32).astype(target)
            self.assertEqual(found.tobytes(), expected.tobytes(), (dtype, target))
        np.save(self.directory / "large.npy", np.array([[1, 2], [3, 70000]], np.float32))
        self.refuse(self.directory / "large.npy", "row 1 holds 70000.0, which is no float16", "--dtype", "float16")

    def test_the_array_that_is_written_has_the_name_that_was_said(self) -> None:
        rows = self.rows(5, 3, "float32")
        np.save(self.directory / "a.npy", rows)
        for form in ("npz", "safetensors", "parquet"):
            self.convert("a.npy", f"a.{form}", "--array", "emb")
            self.convert(f"a.{form}", f"{form}.npy", "--array", "emb")
            np.testing.assert_array_equal(np.load(self.directory / f"{form}.npy"), rows)
            self.refuse(self.directory / f"a.{form}", "other", "--array", "other")
        self.refuse(self.directory / "a.npy", "leave --array out", "--array", "emb", target="refused.fbin")

    def test_what_could_not_be_read_again_is_not_written(self) -> None:
        np.save(self.directory / "none.npy", np.zeros((0, 7), "float32"))
        for form in ("fvecs", "parquet"):
            self.refuse(self.directory / "none.npy", "without rows", target=f"refused.{form}")
        for form in ("npz", "safetensors", "fbin"):
            self.convert("none.npy", f"none.{form}")
            self.assertEqual(self.convert(f"none.{form}", f"again-{form}.npy")["dimension"], 7)
        np.save(self.directory / "a.npy", self.rows(5, 3, "float32"))
        self.refuse(self.directory / "a.npy", "no name of a tensor", "--array", "__metadata__", target="refused.safetensors")
        self.refuse(self.directory / "a.npy", "no name of an array", "--array", "a/../b", target="refused.npz")

    def test_numbers_that_a_type_does_not_hold_are_refused(self) -> None:
        np.save(self.directory / "large.npy", np.array([[1, 2], [3, 1e300]]))
        for dtype in ("float16", "float32"):
            self.refuse(self.directory / "large.npy", f"row 1 holds 1e+300, which is no {dtype}", "--dtype", dtype)

    def test_nothing_is_replaced_and_nothing_is_left(self) -> None:
        np.save(self.directory / "a.npy", self.rows(40_000, 64, "float32"))
        target = self.directory / "b.npz"
        target.write_text("mine")
        done = self.attempt(self.directory / "a.npy", target)
        self.assertEqual(done.returncode, USAGE)
        self.assertIn("exists", done.stderr)
        self.assertEqual(target.read_text(), "mine")
        self.refuse(self.directory / "a.npy", "no name of a form that tarn writes", target="refused.pt")
        self.refuse(self.directory / "a.npy", "does not hold float32", target="refused.i8bin")
        target.unlink()
        log = self.directory / "log"
        self.assertEqual(self.attempt(self.directory / "a.npy", target, TARN_FAULT_LOG=str(log)).returncode, 0)
        expected = target.read_bytes()
        steps = len(log.read_text().splitlines())
        self.assertGreater(steps, 5)
        for step in range(1, steps + 1):
            target.unlink(missing_ok=True)
            done = self.attempt(self.directory / "a.npy", target, TARN_FAULT=f"kill@{step}")
            self.assertEqual(done.returncode, -signal.SIGKILL)
            if target.exists():
                self.assertEqual(target.read_bytes(), expected, step)
            target.unlink(missing_ok=True)
            # What the dead one left goes when somebody comes by an hour later.
            for left in self.directory.glob(".b.npz-*"):
                os.utime(left, (0, time.time() - 4000))
            done = self.attempt(self.directory / "a.npy", target, TARN_FAULT=f"ENOSPC@{step}")
            self.assertEqual((done.returncode, list(self.directory.glob(".b*"))), (28, []), done.stderr)
            self.assertFalse(target.exists() and target.read_bytes() != expected)

    def test_others_read_the_columns_that_are_written(self) -> None:
        for dtype, (count, dimension) in itertools.product(
                ("float16", "float32", "float64"), ((1, 1), (5, 3), (3000, 200), (40_000, 500))):
            rows = self.rows(count, dimension, dtype)
            if count * dimension > 10**6 and dtype == "float64":
                continue
            source, target = self.directory / "rows.npy", self.directory / f"{dtype}-{count}.parquet"
            np.save(source, rows)
            self.convert(source, target)
            column = pq.read_table(target)["features"].combine_chunks()
            self.assertEqual(column.null_count, 0)
            found = column.values.to_numpy(zero_copy_only=False).reshape(count, dimension)
            self.assertEqual(found.astype(dtype).tobytes(), rows.tobytes())
            some = sorted({0, count // 2, count - 1})
            if dtype != "float16":
                for row in some:
                    (values,), = duckdb.sql(f"SELECT features FROM read_parquet('{target}') LIMIT 1 OFFSET {row}").fetchall()
                    np.testing.assert_array_equal(np.array(values, dtype), rows[row])
                if count <= 3000:
                    frame = fastparquet.ParquetFile(str(target)).to_pandas()
                    name, = frame.columns
                    found = np.array([list(row) for row in frame[name]], dtype)
                    np.testing.assert_array_equal(found, rows)
            source.unlink()


if __name__ == "__main__":
    unittest.main()
