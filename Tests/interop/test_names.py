"""A name server that answers nobody: what waits for it holds up neither the others nor the end.

The server is a socket that is never read, and only the process that is tested has it for one.
"""

import os
import signal
import socket
import subprocess

from support import LakeTest, environment

ADDRESS = "127.0.0.77"


class SilentNames(LakeTest):
    def test_ctrl_c_ends_what_waits_for_a_name(self) -> None:
        if os.geteuid() != 0:
            self.skipTest("files are mounted by root alone")
        names = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.addCleanup(names.close)
        try:
            names.bind((ADDRESS, 53))
        except OSError as error:
            self.skipTest(f"no name server on {ADDRESS}: {error}")
        names.settimeout(30)
        resolver = self.scratch / "resolv.conf"
        resolver.write_text(f"nameserver {ADDRESS}\noptions timeout:30 attempts:5\n")
        own = ["unshare", "--mount", "sh", "-c", 'mount --bind "$0" /etc/resolv.conf && exec "$@"', str(resolver)]
        done = subprocess.run([*own, "true"], stdin=subprocess.DEVNULL, capture_output=True, text=True)
        if done.returncode != 0:
            self.skipTest(f"no mounts of its own: {done.stderr.strip()}")
        lake = self.new_lake()
        lake.run(
            "source", "add", "images", "--url", "http://silent.example/{ordinal}.npy", "--count", 2,
            "--dimension", 4, "--dtype", "float16", "--modality", "image")
        process = subprocess.Popen(
            [*own, *lake.command("sync", "--quiet")], env=environment(no_proxy="*", NO_PROXY="*"),
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        self.addCleanup(process.kill)
        try:
            names.recv(512)
        except TimeoutError:
            self.skipTest("names are asked of no name server here")
        process.send_signal(signal.SIGINT)
        # The name itself is given up after minutes.
        _, said = process.communicate(timeout=20)
        self.assertEqual(process.returncode, 130, said)
