"""Wheels built from a folder, and environments that they are installed into, as a user's machine has them."""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PIP = (sys.executable, "-m", "pip", "--disable-pip-version-check", "--quiet")


def built(project: Path, folder: Path) -> Path:
    """The wheel of a project, built into `folder` with the hatchling of this environment: no network is asked."""
    command = [*PIP, "wheel", "--no-deps", "--no-build-isolation", "--wheel-dir", str(folder), str(project)]
    subprocess.run(command, check=True, timeout=300)
    (wheel,) = folder.glob("*.whl")
    return wheel


@dataclass(frozen=True)
class Environment:
    """A virtual environment that borrows this one's libraries; what is installed into it goes before them."""

    folder: Path

    @classmethod
    def made(cls, folder: Path, *wheels: Path) -> Environment:
        subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(folder)], check=True, timeout=120)
        environment = cls(folder)
        (environment.packages / "borrowed.pth").write_text(sysconfig.get_path("purelib") + "\n")
        for wheel in wheels:
            environment.install(wheel)
        return environment

    @property
    def python(self) -> Path:
        return self.folder / "bin" / "python"

    @property
    def packages(self) -> Path:
        return self.folder / "lib" / f"python{sys.version_info.major}.{sys.version_info.minor}" / "site-packages"

    def install(self, wheel: Path) -> None:
        command = [*PIP, "--python", str(self.python), "install", "--no-deps", "--no-index", "--ignore-installed", str(wheel)]
        subprocess.run(command, check=True, timeout=300)

    def rdspend(self, *words: str, ok: int = 0, cwd: Path | None = None) -> str:
        """What the console script prints on standard output; `ok` is the exit code it has to end with."""
        command = [str(self.folder / "bin" / "rdspend"), *words]
        env = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
        done = subprocess.run(
            command, capture_output=True, text=True, check=False, cwd=cwd or self.folder, env=env, timeout=120
        )
        assert done.returncode == ok, f"exit {done.returncode}\n{done.stdout}\n{done.stderr}"
        return done.stdout
