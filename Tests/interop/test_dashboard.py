"""The pages of `tarn serve` in a browser while a lake is at work: numbers move, and a person finds rows with a keyboard alone.

With TARN_SHOTS=DIR each page is also kept as a picture, to be looked at.
"""

import importlib.util
import json
import os
import pathlib
import shutil
import subprocess
import sys
import time
import unittest

from support import FEATURES, ROOT, SHARDS, LakeTest, environment
from test_serve import CHROMIUM, Server

DRIVER = shutil.which("chromedriver")
AXE = importlib.util.find_spec("axe_selenium_python")
SHOTS = os.environ.get("TARN_SHOTS")


@unittest.skipUnless(CHROMIUM and DRIVER and AXE, "chromium, chromedriver, selenium or axe-selenium-python is not installed")
class Dashboard(LakeTest):
    def setUp(self) -> None:
        super().setUp()
        from selenium import webdriver
        options = webdriver.ChromeOptions()
        options.binary_location = CHROMIUM
        for argument in ("--headless=new", "--no-sandbox", "--disable-gpu", f"--user-data-dir={self.scratch}/profile"):
            options.add_argument(argument)
        options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
        self.browser = webdriver.Chrome(options=options, service=webdriver.ChromeService(DRIVER))
        self.addCleanup(self.browser.quit)
        self.resize(1200)

    def resize(self, width: int, scheme: str = "light") -> None:
        self.browser.execute_cdp_cmd(
            "Emulation.setDeviceMetricsOverride", {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": False})
        self.browser.execute_cdp_cmd(
            "Emulation.setEmulatedMedia", {"features": [{"name": "prefers-color-scheme", "value": scheme}]})

    def judge(self, name: str) -> None:
        """axe finds no fault with the page as it is, wide or narrow, and nothing of it was forbidden."""
        script = next(pathlib.Path(AXE.submodule_search_locations[0]).rglob("axe.min.js")).read_text()
        for width, scheme in ((320, "dark"), (1200, "light")):
            self.resize(width, scheme)
            if SHOTS:
                self.browser.save_screenshot(f"{SHOTS}/{name}-{width}.png")
            self.browser.execute_script(script)
            found = self.browser.execute_async_script("const done = arguments[0]; axe.run().then(done)")["violations"]
            self.assertEqual([(one["id"], one["impact"], one["nodes"][0]["html"][:200]) for one in found], [], (name, width))
            self.assertLessEqual(self.browser.execute_script("return document.documentElement.scrollWidth"), width, (name, width))
        faults = [line for line in self.browser.get_log("browser") if line["level"] == "SEVERE"]
        self.assertEqual(faults, [], name)

    def seen(self) -> dict[str, list[str]]:
        """The rows of things that are under way or at rest, as the page shows them now."""
        return {
            cells[0]: cells[1:] for cells in self.browser.execute_script(
                "return [...document.querySelectorAll('#moving tbody tr, #resting tbody tr')]"
                ".map(row => [...row.cells].map(cell => cell.textContent.trim()))")}

    def watch(self, process: subprocess.Popen, name: str) -> list[list[str]]:
        """What the page shows of a thing, each time that it is other than before, until the process has ended and is seen to."""
        shown: list[list[str]] = []
        end = time.monotonic() + 240
        ended = None
        while time.monotonic() < end and (ended is None or time.monotonic() < ended + 6):
            cells = self.seen().get(name)
            if cells and (not shown or shown[-1] != cells):
                shown.append(cells)
            if ended is None and process.poll() is not None:
                ended = time.monotonic()
            time.sleep(0.1)
        self.assertEqual(process.wait(timeout=60), 0)
        return shown

    def start(self, *arguments: object) -> subprocess.Popen:
        process = subprocess.Popen(
            self.lake.command(*arguments), env=environment(), stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL)
        self.addCleanup(process.kill)
        return process

    def test_numbers_move_while_the_lake_is_at_work(self) -> None:
        self.lake = self.new_lake()
        self.lake.add_examples(self.serve(FEATURES).url, "--sizes", FEATURES / "sizes.txt")
        server = Server(self.lake)
        self.addCleanup(server.stop)
        self.browser.get(server.url)
        self.assertEqual(self.seen()["source images"][0], f"0/{SHARDS}")

        # A transfer: bytes, shards, rate and time left.
        sync = self.start("sync", "--bwlimit", "400kB/s", "--jobs", 1, "--quiet")
        time.sleep(4)
        self.judge("lake-sync")
        shown = self.watch(sync, "source images")
        self.assertGreaterEqual(len({cells[1] for cells in shown}), 4, shown)
        self.assertGreaterEqual(len({cells[0] for cells in shown}), 3, shown)
        self.assertTrue([cells for cells in shown if len(cells) > 4 and cells[2].endswith("/s") and cells[3]], shown)
        self.assertEqual(self.seen()["source images"][0], f"{SHARDS}/{SHARDS}")
        # So do the squares of the shards, and the history.
        squares = self.browser.execute_script("return document.querySelectorAll('#shards rect.s-present').length")
        self.assertEqual(squares, 2 * SHARDS)
        self.assertIn("fetched", self.browser.execute_script("return document.querySelector('#events').textContent"))

        self.lake.train()
        build = self.start("build", "clips", "--trained", "clip", "--images", "images", "--shards-per-output", 1,
                           "--quiet")
        shown = self.watch(build, "build clips@1")
        self.assertEqual(shown[-1][0], f"{SHARDS}/{SHARDS}", shown)
        self.assertIn("sealed", shown[-1], shown)
        self.assertIn("3600 rows", shown[-1], shown)
        # What was sealed while the page was open can be searched, without a restart.
        for _ in range(100):
            if json.loads(server.get("/indices-list")[1]) == ["clips@1"]:
                break
            time.sleep(0.1)
        self.assertEqual(json.loads(server.get("/indices-list")[1]), ["clips@1"])
        self.judge("lake-built")

        # A region that is scrolled, with the keyboard in it, stays so when the page is renewed.
        self.resize(320)
        self.browser.execute_script("const it = document.querySelector('#events .scroll'); it.focus(); it.scrollLeft = 30")
        self.lake.run("pin", "clips@1")
        for _ in range(100):
            told = self.browser.execute_script(
                "const it = document.querySelector('#events .scroll');"
                "return [it.querySelectorAll('td')[1].textContent, document.activeElement === it, it.scrollLeft]")
            if told[0] == "pin":
                break
            time.sleep(0.1)
        self.assertEqual(told, ["pin", True, 30])

        # A server that is gone is told, and the last numbers stay.
        server.stop()
        for _ in range(150):
            looked = self.browser.execute_script("return document.getElementById('looked').textContent")
            if "does not answer" in looked:
                break
            time.sleep(0.1)
        self.assertIn("does not answer", looked)
        self.assertIn("build clips@1", self.seen())

    def test_a_person_finds_rows_with_a_keyboard_alone(self) -> None:
        from selenium.webdriver.common.by import By
        from selenium.webdriver.common.keys import Keys
        from selenium.webdriver.support.ui import WebDriverWait
        ngrams = ROOT / "Examples" / "encoders" / "ngrams.py"
        names, meta = self.scratch / "names", self.scratch / "meta"
        names.mkdir(), meta.mkdir()
        for text in sorted((FEATURES / "metadata").glob("*.txt")):
            subprocess.run(
                [sys.executable, ngrams, "--features", text, names / f"names_{text.stem[-4:]}.npy"], check=True)
            (meta / f"meta_{text.stem[-4:]}.jsonl").write_text("".join(
                json.dumps({"caption": line, "url": f"https://host.example/{text.stem}/{row}.png"}) + "\n"
                for row, line in enumerate(text.read_text().replace("\t", " ").splitlines())))
        self.lake = self.new_lake()
        self.lake.run("source", "add", "names", "--directory", names, "--modality", "other")
        self.lake.run("source", "add", "meta", "--companion-of", "names", "--directory", meta)
        self.lake.run("sync", "--quiet")
        self.lake.run("train", "names", "--images", "names", "--method", "kmeans", "--nlist", 32, "--quiet")
        self.lake.run("build", "names", "--trained", "names", "--images", "names", "--quiet")
        self.lake.run("pack", "meta", "--quiet")
        encoder = f"{sys.executable} {ngrams}"
        server = Server(self.lake, "--encoder", encoder)
        self.addCleanup(server.stop)

        def tab(until) -> None:
            for _ in range(60):
                if until(self.browser.switch_to.active_element):
                    return
                self.browser.switch_to.active_element.send_keys(Keys.TAB)
            self.fail("the keyboard does not get there")

        # From the lake's page to the search, words in, rows out.
        self.browser.get(server.url)
        tab(lambda element: element.text == "Search")
        self.browser.switch_to.active_element.send_keys(Keys.ENTER)
        WebDriverWait(self.browser, 60).until(lambda driven: driven.current_url.endswith("/search"))
        tab(lambda element: element.get_attribute("id") == "q")
        self.browser.switch_to.active_element.send_keys("sailing boat", Keys.ENTER)
        WebDriverWait(self.browser, 60).until(lambda driven: driven.find_elements(By.CSS_SELECTOR, "main table tbody tr"))
        found = json.loads(self.lake.run("search", "names@1", "--text", "sailing boat", "--encoder", encoder, "--columns", "caption", "--json"))
        rows = self.browser.execute_script(
            "return [...document.querySelectorAll('main tbody tr')].map(row => [...row.cells].map(cell => cell.textContent))")
        heads = self.browser.execute_script("return [...document.querySelectorAll('main thead th')].map(cell => cell.textContent)")
        self.assertEqual([row[heads.index("id")] for row in rows], [str(id) for id in found["ids"]])
        self.assertEqual([row[heads.index("caption")] for row in rows], [one["caption"] for one in found["columns"]])
        self.assertIn("ail", rows[0][heads.index("caption")])
        self.judge("search")
        # On a narrow screen the words of a row are in sight.
        self.resize(320)
        place = self.browser.execute_script(
            "const cell = document.querySelectorAll('main tbody tr:first-child td')[arguments[0]].getBoundingClientRect();"
            "return [cell.left, cell.width]", heads.index("caption"))
        self.assertLess(place[0] + 60, 320)
        self.assertEqual(
            self.browser.execute_script("const it = document.querySelector('.scroll'); return it.scrollWidth <= it.clientWidth"), True)

        # A version's page, from the list of them.
        self.lake.run("evaluate", "names@1", "--queries", names / "names_0000.npy", "--nprobe", "1,4,16", "--quiet")
        tab(lambda element: element.text == "Versions")
        self.browser.switch_to.active_element.send_keys(Keys.ENTER)
        tab(lambda element: element.text == "names@1")
        self.browser.switch_to.active_element.send_keys(Keys.ENTER)
        WebDriverWait(self.browser, 60).until(lambda driven: driven.current_url.endswith("/versions/names@1"))
        texts = self.browser.execute_script("return [...document.querySelectorAll('svg text.axis')].map(text => text.textContent)")
        for label in ("share of all vectors scanned", "nprobe", "rows in a list", "share of the lists"):
            self.assertIn(label, texts)
        self.assertTrue(self.browser.find_elements(By.CSS_SELECTOR, "svg line.error"))
        self.judge("version")

        # SQL, typed and sent.
        tab(lambda element: element.text == "SQL")
        self.browser.switch_to.active_element.send_keys(Keys.ENTER)
        tab(lambda element: element.get_attribute("id") == "sql")
        self.browser.switch_to.active_element.send_keys("SELECT version, rows FROM v_version", Keys.TAB)
        self.assertEqual(self.browser.switch_to.active_element.text, "Ask")
        self.browser.switch_to.active_element.send_keys(Keys.ENTER)
        WebDriverWait(self.browser, 60).until(lambda driven: driven.find_elements(By.CSS_SELECTOR, "main tbody tr"))
        self.assertEqual(
            self.browser.execute_script("return [...document.querySelectorAll('main tbody td')].map(cell => cell.textContent)"),
            ["names@1", "3600"])
        self.judge("sql")
