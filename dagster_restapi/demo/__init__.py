"""The embedded sample API: a small issue tracker on loopback, for `make demo`, `make ui`, tests and benchmarks."""

from dagster_restapi.demo.server import DEMO_TOKEN, SampleApi
from dagster_restapi.demo.tracker import Tracker

__all__ = ["DEMO_TOKEN", "SampleApi", "Tracker"]
