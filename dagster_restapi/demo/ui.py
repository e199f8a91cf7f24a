"""`make ui`: the sample API and `dagster dev` side by side, started and stopped together."""

from __future__ import annotations

import argparse
import importlib.util
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

from dagster_restapi.demo import SampleApi
from dagster_restapi.demo.config import DATABASE_ENV, TOKEN_ENV, URL_ENV
from dagster_restapi.demo.home import use_home

_LIFETIME = 24 * 3600.0  # seconds; a forgotten UI ends after a day
_PATIENCE = 120.0  # seconds until the UI must answer
_GRACE = 20.0  # seconds that Dagster has to end its own processes


def free(port: int) -> bool:
    """Whether nothing listens on a loopback port."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def wait_until_up(address: str, process: subprocess.Popen[bytes]) -> bool:
    """Waits for the UI's first answer; False where Dagster has ended or takes too long."""
    deadline = time.monotonic() + _PATIENCE
    while time.monotonic() < deadline and process.poll() is None:
        try:
            with urllib.request.urlopen(f"{address}/server_info", timeout=5):
                return True
        except (urllib.error.URLError, OSError):
            time.sleep(0.3)
    return False


def end(process: subprocess.Popen[bytes]) -> None:
    """Ends Dagster and what it has started: first politely, then for sure."""
    for step in (signal.SIGINT, signal.SIGTERM, signal.SIGKILL):
        try:
            os.killpg(process.pid, step)
            process.wait(_GRACE)
        except ProcessLookupError:
            return
        except subprocess.TimeoutExpired:
            continue


def serve(folder: Path, port: int) -> int:
    """Runs both until Dagster ends or this process is told to stop; gives the exit code."""
    home = folder / ".demo" / "ui"
    use_home(home)
    with SampleApi(seconds=_LIFETIME) as api:
        os.environ |= {URL_ENV: api.url, TOKEN_ENV: str(api.token), DATABASE_ENV: str(home / "demo.duckdb")}
        address = f"http://127.0.0.1:{port}"
        command = [sys.executable, "-m", "dagster", "dev", "-w", str(folder / "workspace.yaml")]
        command += ["-h", "127.0.0.1", "-p", str(port), "--log-level", "warning"]
        quiet = {**os.environ, "PYTHONWARNINGS": "ignore:Function `dev_command` is superseded"}
        process = subprocess.Popen(command, cwd=folder, env=quiet, start_new_session=True)  # a group, to end it whole
        try:
            if wait_until_up(address, process):
                lines = ["", f"Dagster's UI    {address}", f"The sample API  {api.url}", "Ctrl-C stops both.", ""]
                sys.stdout.write("\n".join(lines) + "\n")
                sys.stdout.flush()
                return process.wait()
            sys.stderr.write("dagster dev did not come up: see the messages above\n")
            return 1
        except KeyboardInterrupt:
            return 0
        finally:
            signal.signal(signal.SIGINT, signal.SIG_IGN)  # a second Ctrl-C must not leave half of it running
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
            end(process)
            sys.stdout.write("Both are stopped.\n")


def _interrupt(number: int, frame: object) -> None:
    raise KeyboardInterrupt


def main(arguments: list[str] | None = None) -> int:
    """The command."""
    parser = argparse.ArgumentParser(prog="python -m dagster_restapi.demo.ui", description=__doc__)
    parser.add_argument("--port", type=int, default=3000, help="the UI's port (default: %(default)s)")
    parser.add_argument("--folder", type=Path, default=Path.cwd(), help="where workspace.yaml is (default: here)")
    options = parser.parse_args(arguments)
    if importlib.util.find_spec("dagster_webserver") is None:
        sys.stderr.write("the UI needs the package dagster-webserver: pip install dagster-webserver\n")
        return 1
    if not free(options.port):
        sys.stderr.write(f"port {options.port} is taken: choose another one with --port, or make ui PORT=3001\n")
        return 1
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):  # a shell's background job would ignore the first
        signal.signal(number, _interrupt)
    return serve(options.folder.resolve(), options.port)


if __name__ == "__main__":
    sys.exit(main())
