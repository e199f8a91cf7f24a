"""Where the commands `run` and `state` keep and find tables: the options that both take."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

_SCHEMA = "public"
"""The schema without any other word for it, as dagster-duckdb has it."""


def target_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Adds `--database`, `--schema` and `--key-prefix` to a command."""
    for option in (
        click.option(
            "--key-prefix", default="", metavar="A/B", help="Parts before the resource's name in the asset keys."
        ),
        click.option("--schema", help="Schema of the tables. Default: the last part of the key prefix, else public."),
        click.option(
            "--database",
            type=click.Path(dir_okay=False),
            help="The DuckDB file. Default: named like CONFIG, in this folder.",
        ),
    ):
        command = option(command)
    return command


def database_of(database: str | None, config: str) -> str:
    """The file that was named, or one that is named like the configuration: `github.yaml` gives `github.duckdb`."""
    if database is not None:
        return database
    place = config if Path(config).exists() else re.sub(r":[\w.]*$", "", config)
    return f"{Path(place).stem if place.endswith(('.py', '.yaml', '.yml')) else place.rpartition('.')[2]}.duckdb"


def prefix_of(key_prefix: str) -> list[str]:
    """The parts of a key prefix."""
    return [part for part in key_prefix.split("/") if part]


def schema_of(schema: str | None, key_prefix: str) -> str:
    """The schema that the IO manager uses for these options."""
    return schema or (prefix_of(key_prefix) or [_SCHEMA])[-1]
