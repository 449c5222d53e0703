"""A throw-away Ceph object gateway on this machine, through `start-rgw`."""

from __future__ import annotations

import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

HERE = Path(__file__).parent
PORTS = 7


def _free_ports() -> int:
    """The first port of a block of PORTS that nobody listens on."""
    for first in range(14200, 16000, PORTS):
        with ExitStack() as sockets:
            try:
                for port in range(first, first + PORTS):
                    sockets.enter_context(socket.socket()).bind(("127.0.0.1", port))
            except OSError:
                continue
            return first
    raise RuntimeError(f"no {PORTS} free ports in a row")


@contextmanager
def running_gateway() -> Iterator[str]:
    """The address of a fresh, empty S3 server, gone afterwards."""
    folder = Path(tempfile.mkdtemp(prefix="rdspend-rgw-"))
    port = _free_ports()
    try:
        subprocess.run([HERE / "start-rgw", "start", folder, str(port)], check=True, timeout=120)
        yield f"http://127.0.0.1:{port}"
    finally:
        subprocess.run([HERE / "start-rgw", "stop", folder], check=False, timeout=60)
        shutil.rmtree(folder, ignore_errors=True)
