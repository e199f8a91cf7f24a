"""Serves the sample API until it is stopped: `python -m dagster_restapi.demo --port 8000`."""

from __future__ import annotations

import argparse
import signal
import sys

from dagster_restapi.demo import DEMO_TOKEN, SampleApi, Tracker, server


def main(arguments: list[str] | None = None) -> int:
    """Prints the address and serves."""
    parser = argparse.ArgumentParser(
        prog="python -m dagster_restapi.demo",
        description="Serves the sample API, an issue tracker with made-up rows, on loopback.",
        epilog=(server.__doc__ or "").partition("\n")[2],
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--port", type=int, default=8000, help="0 takes a free one (default: %(default)s)")
    parser.add_argument("--seconds", type=float, default=3600.0, help="stop by itself after so long (default: 3600)")
    parser.add_argument("--latency", type=float, default=0.0, help="seconds that every answer waits (default: 0)")
    parser.add_argument(
        "--token", default=DEMO_TOKEN, help='the bearer token it wants; "" for none (default: %(default)s)'
    )
    parser.add_argument("--seed", type=int, default=1, help="chooses the made-up rows (default: %(default)s)")
    options = parser.parse_args(arguments)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    with SampleApi(
        port=options.port,
        token=options.token or None,
        latency=options.latency,
        seconds=options.seconds,
        tracker=Tracker(seed=options.seed),
    ) as api:
        sys.stdout.write(f"sample API on {api.url}\n")
        sys.stdout.flush()
        try:
            api.wait()
        except KeyboardInterrupt:
            sys.stdout.write("stopped\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
