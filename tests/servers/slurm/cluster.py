"""A throw-away Slurm on this machine: started, asked and stopped through `start-slurm`."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).parent
PORTS = 40


def free_ports() -> int:
    """The first port of a block of PORTS that nobody listens on."""
    for first in range(16800, 32000, PORTS):
        with ExitStack() as sockets:
            try:
                for port in range(first, first + PORTS):
                    sockets.enter_context(socket.socket()).bind(("127.0.0.1", port))
            except OSError:
                continue
            return first
    raise RuntimeError(f"no {PORTS} free ports in a row")


@dataclass(frozen=True)
class Cluster:
    """A running cluster and its folder."""

    folder: Path
    environment: dict[str, str]

    @property
    def slurm_conf(self) -> Path:
        return self.folder / "etc" / "slurm.conf"

    def run(self, *command: str, check: bool = True) -> str:
        """Run a client command against it; what it printed."""
        environment = self.environment | {"SLURM_CONF": str(self.slurm_conf)}
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=120)
        if check and done.returncode:
            raise RuntimeError(f"{command[0]} ended with {done.returncode}: {done.stderr or done.stdout}")
        return done.stdout

    def start(self) -> None:
        """Start what does not run."""
        self.run(str(HERE / "start-slurm"))

    def submit(self) -> None:
        """About 30 jobs of most states and shapes."""
        self.run(str(HERE / "submit-jobs"), "--fast")

    def signal(self, daemon: str, number: signal.Signals) -> None:
        """Send a signal to one of its daemons."""
        os.kill(int((self.folder / "pid" / f"{daemon}.pid").read_text()), number)

    def sql(self, statement: str) -> str:
        """Run SQL on its accounting database."""
        socket_file = str(self.folder / "dbrun" / "mysql.sock")
        return self.run("mariadb", "--no-defaults", "-S", socket_file, "-u", "root", "-N", "-e", statement, "slurm_acct_db")


@contextmanager
def running_cluster() -> Iterator[Cluster]:
    """A fresh cluster on free ports, gone afterwards."""
    folder = Path(tempfile.mkdtemp(prefix="rdspend-slurm-"))
    folder.chmod(0o755)  # the database server runs as a user of its own
    environment = {k: v for k, v in os.environ.items() if not k.startswith("SLURM")}
    cluster = Cluster(folder, environment | {"SLURMLAB": str(folder), "SLURMLAB_PORT": str(free_ports())})
    try:
        cluster.start()
        yield cluster
    finally:
        cluster.run(str(HERE / "start-slurm"), "reset", check=False)
        shutil.rmtree(folder, ignore_errors=True)
