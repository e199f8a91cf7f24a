"""Runs a contender in a process of its own: wall time, peak memory of the whole process tree, and what it tells."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any

REPOSITORY = Path(__file__).resolve().parent.parent
_PAGE = os.sysconf("SC_PAGE_SIZE")
_EVERY = 0.03  # seconds between two looks at the memory
_LONGEST = 900.0  # seconds that a contender may take


@dataclass(frozen=True, slots=True)
class Run:
    """One run of one contender.

    Attributes:
        seconds: Of the work, with everything imported.
        process_seconds: From the start of the process to its end.
        peak_mb: The most memory that its process tree held at once: resident, shared pages counted once for each.
        process_peak_mb: The most memory that one of its processes held.
        told: All that the contender printed.
        served: What the server counted meanwhile.
    """

    seconds: float
    process_seconds: float
    peak_mb: float
    process_peak_mb: float
    told: Mapping[str, Any]
    served: Mapping[str, float] = field(default_factory=dict)


class Peak:
    """Watches the memory of a process and its children."""

    def __init__(self, pid: int) -> None:
        self.bytes = self.bytes_of_one = 0
        self._pid, self._done = pid, threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Ends the watch."""
        self._done.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._done.wait(_EVERY):
            sizes = [_resident(pid) for pid in _family(self._pid)]
            self.bytes, self.bytes_of_one = max(self.bytes, sum(sizes)), max(self.bytes_of_one, *sizes)


def _family(pid: int) -> list[int]:
    """A process and all below it.

    A child that is about to become another program still has its parent's memory, which counts once.
    """
    found = [pid]
    for parent in found:
        try:
            words = _words(parent)
            for task in Path(f"/proc/{parent}/task").iterdir():
                children = map(int, (task / "children").read_text().split())
                found += [child for child in children if _words(child) != words]
        except OSError:
            continue  # it has ended
    return found


def _words(pid: int) -> bytes:
    """What a process was started with; nothing of one that has ended."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""


def _resident(pid: int) -> int:
    try:
        return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * _PAGE
    except (OSError, IndexError):
        return 0


def run(python: str, module: str, *arguments: str, environment: Mapping[str, str] | None = None) -> Run:
    """Runs a module to its end.

    Raises:
        RuntimeError: It failed; with the end of what it said.
    """
    command = [python, "-m", module, *arguments]
    variables = {**os.environ, "PYTHONPATH": str(REPOSITORY), "DAGSTER_DISABLE_TELEMETRY": "yes", **(environment or {})}
    with tempfile.TemporaryFile("w+") as errors:
        began = time.perf_counter()
        process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=errors, text=True, env=variables, cwd=REPOSITORY
        )
        peak = Peak(process.pid)
        try:
            output, _ = process.communicate(timeout=_LONGEST)
        except subprocess.TimeoutExpired:
            process.kill()
            raise
        finally:
            peak.stop()
        seconds = time.perf_counter() - began
        if process.returncode:
            errors.seek(0)
            raise RuntimeError(f"{' '.join(command)} failed:\n{errors.read()[-3000:]}")
    told = json.loads(output.strip().splitlines()[-1])
    return Run(told["seconds"], seconds, peak.bytes / 1e6, peak.bytes_of_one / 1e6, told)


def peers(folder: Path) -> str:
    """The Python of an environment with dlt and what the script by hand needs; made when it is first asked for."""
    python, stamp = folder / "bin" / "python", folder / ".installed"
    requirements = REPOSITORY / "benchmarks" / "requirements.txt"
    wanted = f"{requirements.read_text()}duckdb=={version('duckdb')}\n"
    if not stamp.exists() or stamp.read_text() != wanted:
        print(f"Installing dlt and what else is compared, into {folder} (once) ...", flush=True)  # noqa: T201
        subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)
        _install(python, ["-r", str(requirements), f"duckdb=={version('duckdb')}"])
        stamp.write_text(wanted)
    return str(python)


def _install(python: Path, packages: Sequence[str]) -> None:
    pip = [str(python), "-m", "pip", "install", "-qq", "--disable-pip-version-check", *packages]
    subprocess.run(pip, check=True)
