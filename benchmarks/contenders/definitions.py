"""How long a code location of many resources takes to build: this library's assets, and as many plain ones."""

from __future__ import annotations

import argparse
import json
import time

import dagster as dg

from dagster_restapi import DuckDBRestApiIOManager, build_rest_api_definitions


def ours(count: int) -> dg.Definitions:
    """Resources of this library."""
    config = {
        "client": {"base_url": "https://api.example.com"},
        "resource_defaults": {"primary_key": "id", "write_disposition": "merge"},
        "resources": [f"resource_{number}" for number in range(count)],
    }
    return build_rest_api_definitions(config, io_manager=DuckDBRestApiIOManager(database="never_made.duckdb"))


def plain(count: int) -> dg.Definitions:
    """Assets of Dagster's own."""

    def asset(number: int) -> dg.AssetsDefinition:
        @dg.asset(name=f"resource_{number}", kinds={"restapi", "duckdb"}, io_manager_key="io_manager")
        def compute(context: dg.AssetExecutionContext) -> None: ...

        return compute

    io_manager = DuckDBRestApiIOManager(database="never_made.duckdb")
    return dg.Definitions(assets=[asset(number) for number in range(count)], resources={"io_manager": io_manager})


def main() -> None:
    """The command: what, how many."""
    parser = argparse.ArgumentParser()
    parser.add_argument("kind", choices=("ours", "plain"))
    parser.add_argument("count", type=int)
    arguments = parser.parse_args()
    make = ours if arguments.kind == "ours" else plain
    make(1).get_repository_def().get_all_jobs()  # whatever is imported late
    began = time.perf_counter()
    make(arguments.count).get_repository_def().get_all_jobs()
    print(f"\n{json.dumps({'seconds': time.perf_counter() - began, 'rows': 0})}")  # noqa: T201


if __name__ == "__main__":
    main()
