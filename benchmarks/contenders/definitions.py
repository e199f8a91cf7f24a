"""How long a code location of many resources takes to build: this library's assets, and as many plain ones."""

from __future__ import annotations

import argparse
import json
import time

import dagster as dg

from dagster_restapi import DuckDBRestApiIOManager, build_rest_api_definitions

_IO_MANAGER = DuckDBRestApiIOManager(database="never_made.duckdb")


def ours(count: int, checks: bool) -> dg.Definitions:
    """Resources of this library."""
    config = {
        "client": {"base_url": "https://api.example.com"},
        "resource_defaults": {"primary_key": "id", "write_disposition": "merge"},
        "resources": [f"resource_{number}" for number in range(count)],
    }
    return build_rest_api_definitions(config, io_manager=_IO_MANAGER, checks=checks)


def plain(count: int, checks: bool) -> dg.Definitions:
    """Assets of Dagster's own, and a check for each."""

    def asset(number: int) -> dg.AssetsDefinition:
        @dg.asset(name=f"resource_{number}", kinds={"restapi", "duckdb"}, io_manager_key="io_manager")
        def compute() -> None: ...

        return compute

    def check(number: int) -> dg.AssetChecksDefinition:
        @dg.asset_check(asset=f"resource_{number}")
        def compute() -> dg.AssetCheckResult: ...

        return compute

    return dg.Definitions(
        assets=[asset(number) for number in range(count)],
        asset_checks=[check(number) for number in range(count)] if checks else [],
        resources={"io_manager": _IO_MANAGER},
    )


def main() -> None:
    """The command: what, how many."""
    parser = argparse.ArgumentParser()
    parser.add_argument("kind", choices=("ours", "plain"))
    parser.add_argument("count", type=int)
    parser.add_argument("--checks", action="store_true", help="each resource with its asset checks")
    arguments = parser.parse_args()
    make = ours if arguments.kind == "ours" else plain
    make(1, arguments.checks).get_repository_def().get_all_jobs()  # whatever is imported late
    began = time.perf_counter()
    make(arguments.count, arguments.checks).get_repository_def().get_all_jobs()
    print(f"\n{json.dumps({'seconds': time.perf_counter() - began, 'rows': 0})}")  # noqa: T201


if __name__ == "__main__":
    main()
