"""A real Slurm of two nodes on this machine, for as long as a test needs it.

munged, slurmctld and two slurmd are processes of root's with their configuration, key,
state and logs in a temporary directory and on free ports; no system service is touched.
There is no accounting, and jobs are forgotten soon after they ended.
"""

import contextlib
import os
import pathlib
import pwd
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
from webserver import die_with_parent, free_port  # noqa: E402

# A job that is started again waits until its credential has expired: 120 s, if nothing
# else is said. Nodes that do not answer are down after SlurmdTimeout.
CONFIGURATION = """\
ClusterName=tarn
SlurmctldHost={host}(127.0.0.1)
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket={scratch}/munge/socket,cred_expire=5
CredType=cred/munge
MpiDefault=none
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SwitchType=switch/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
SchedulerParameters=batch_sched_delay=0,sched_interval=2,bf_interval=2
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
JobRequeue=1
KillWait=5
MinJobAge={remembered}
MaxArraySize={array_size}
ReturnToService=2
SlurmctldPort={controller}
SlurmctldPidFile={scratch}/slurmctld.pid
SlurmctldLogFile={scratch}/slurmctld.log
SlurmctldTimeout=15
SlurmdPidFile={scratch}/slurmd-%n.pid
SlurmdLogFile={scratch}/slurmd-%n.log
SlurmdSpoolDir={scratch}/spool-%n
SlurmdTimeout=10
SlurmdParameters=config_overrides
StateSaveLocation={scratch}/state
NodeName=n1 NodeHostname={host} NodeAddr=127.0.0.1 Port={n1} CPUs=2 RealMemory=2000 State=UNKNOWN
NodeName=n2 NodeHostname={host} NodeAddr=127.0.0.1 Port={n2} CPUs=2 RealMemory=2000 State=UNKNOWN
PartitionName=main Nodes=n1,n2 Default=YES MaxTime=INFINITE State=UP
"""
NODES = ("n1", "n2")
# Debian keeps the daemons out of a user's PATH.
PLACES = os.environ.get("PATH", "") + ":/usr/sbin:/usr/local/sbin"
PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch", "squeue", "scancel", "scontrol", "sinfo")


def lack() -> str | None:
    """Why there can be no cluster here; None where there can."""
    if os.geteuid() != 0:
        return "Slurm's daemons are started as root"
    missing = [name for name in PROGRAMS if shutil.which(name, path=PLACES) is None]
    if missing:
        return f"{', '.join(missing)} not installed; run: make deps"
    return None


class Slurm:
    """A cluster of two nodes with two cores each, at work until `stop`."""

    def __init__(self, array_size: int = 10, remembered: int = 5) -> None:
        """Starts it; jobs can be submitted when this returns.

        `array_size` is its MaxArraySize, `remembered` the seconds for which it knows jobs
        that ended.
        """
        self.scratch = pathlib.Path(tempfile.mkdtemp(prefix="tarn-slurm-"))
        self.daemons: dict[str, subprocess.Popen] = {}
        self.array_size, self.remembered = array_size, remembered
        try:
            self._start()
        except BaseException:
            self.stop()
            raise

    def _start(self) -> None:
        self.scratch.chmod(0o755)
        for name in ("munge", "state", *(f"spool-{node}" for node in NODES)):
            (self.scratch / name).mkdir(mode=0o755)
        munge = self.scratch / "munge"
        (munge / "key").write_bytes(secrets.token_bytes(128))
        (munge / "key").chmod(0o400)
        user = pwd.getpwnam("munge")
        for path in (munge, munge / "key"):
            os.chown(path, user.pw_uid, user.pw_gid)
        self._launch(
            "munged", "--foreground", "--force", f"--socket={munge}/socket", f"--key-file={munge}/key",
            f"--pid-file={munge}/pid", f"--log-file={munge}/log", f"--seed-file={munge}/seed",
            user=user.pw_uid, group=user.pw_gid)
        self._wait("munged answers", lambda: (munge / "socket").exists())
        ports = self._ports()
        self.configuration.write_text(CONFIGURATION.format(
            scratch=self.scratch, host=socket.gethostname().split(".")[0], array_size=self.array_size,
            remembered=self.remembered, controller=ports[0], n1=ports[1], n2=ports[2]))
        self.start_controller("-c")
        for node in NODES:
            self.start_node(node)
        self._wait("two nodes are idle", lambda: self.ask("sinfo", "-h", "-t", "idle", "-o", "%D").strip() == "2")

    @staticmethod
    def _ports() -> list[int]:
        ports: set[int] = set()
        while len(ports) < 3:
            ports.add(free_port())
        return sorted(ports)

    @property
    def configuration(self) -> pathlib.Path:
        return self.scratch / "slurm.conf"

    @property
    def environment(self) -> dict[str, str]:
        """What a command needs in its environment to find the cluster."""
        return {"SLURM_CONF": str(self.configuration), "PATH": PLACES}

    def _launch(self, program: str, *arguments: str, name: str | None = None, **how: int) -> None:
        path = shutil.which(program, path=PLACES)
        if path is None:
            raise RuntimeError(f"{program} is not installed")
        with open(self.scratch / f"{name or program}.out", "ab") as log:
            self.daemons[name or program] = subprocess.Popen(
                [path, *arguments], stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd="/",
                env={**os.environ, **self.environment}, preexec_fn=die_with_parent, **how)

    def _wait(self, what: str, holds) -> None:
        deadline = time.monotonic() + 60
        while not holds():
            ended = [name for name, daemon in self.daemons.items() if daemon.poll() is not None]
            if ended or time.monotonic() > deadline:
                logs = "\n".join(
                    f"{path.name}: {path.read_text(errors='replace')[-1500:]}" for path in sorted(self.scratch.glob("*.*"))
                    if path.suffix in (".out", ".log"))
                raise RuntimeError(f"not yet: {what}; ended: {ended}\n{logs}")
            time.sleep(0.1)

    def start_controller(self, *options: str) -> None:
        self._launch("slurmctld", "-D", *options, "-f", str(self.configuration))
        self._wait("the controller answers", lambda: self.call("scontrol", "ping").stdout.count("UP") == 1)

    def stop_controller(self) -> None:
        """Ends the controller; what runs goes on, and what it knows is kept."""
        self._end("slurmctld", signal.SIGTERM)

    def start_node(self, node: str) -> None:
        self._launch("slurmd", "-D", "-f", str(self.configuration), "-N", node, name=node)

    def kill_node(self, node: str) -> None:
        """Ends a node at once, with all that runs on it."""
        victims = [self.daemons[node].pid, *self._steps(node)]
        for pid in victims:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self.daemons.pop(node).wait()

    def _steps(self, node: str | None = None) -> list[int]:
        """Processes of this cluster's jobs, which are no children of its daemons: first
        those that watch over a job and would report how it ended."""
        watching, working = [], []
        for process in pathlib.Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):
                environ = (process / "environ").read_bytes().split(b"\0")
                if f"SLURM_CONF={self.configuration}".encode() not in environ:
                    continue
                if node is not None and f"SLURMD_NODENAME={node}".encode() not in environ:
                    continue
                if not any(entry.startswith(b"SLURM_JOB_ID=") for entry in environ):
                    continue
                working.append(int(process.name))
                parent = int((process / "stat").read_text().rpartition(")")[2].split()[1])
                if b"slurmstepd" in pathlib.Path(f"/proc/{parent}/cmdline").read_bytes():
                    watching.append(parent)
        return watching + working

    def _end(self, name: str, number: int) -> None:
        daemon = self.daemons.pop(name, None)
        if daemon is None:
            return
        daemon.send_signal(number)
        try:
            daemon.wait(timeout=20)
        except subprocess.TimeoutExpired:
            daemon.kill()
            daemon.wait()

    def call(self, *command: str, **changes: str) -> subprocess.CompletedProcess:
        """Runs one of Slurm's commands to its end, however it ends."""
        return subprocess.run(
            command, env={**os.environ, **self.environment, **changes}, stdin=subprocess.DEVNULL, capture_output=True,
            text=True, timeout=120)

    def ask(self, *command: str) -> str:
        """Its answer; nothing where it fails."""
        return self.call(*command).stdout

    def stop(self) -> None:
        """Ends jobs and daemons, whatever state they are in, and removes what they wrote."""
        if "slurmctld" in self.daemons:
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.call("scancel", "--user=root", "--signal=KILL", "--full")
                self.call("scancel", "--user=root")
        for pid in self._steps():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        for name in [*NODES, "slurmctld", "munged"]:
            self._end(name, signal.SIGTERM)
        shutil.rmtree(self.scratch, ignore_errors=True)

    def __enter__(self) -> "Slurm":
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()
