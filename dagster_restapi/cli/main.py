"""The command `dagster-restapi` and its subcommands; each imports what it needs when it is called."""

from __future__ import annotations

import json
import logging
import sys
import warnings
from collections.abc import Callable
from typing import Any

import click

from dagster_restapi.cli.target import database_of, prefix_of, schema_of, target_options
from dagster_restapi.errors import RestApiError
from dagster_restapi.secrets import RedactionFilter


class _Commands(click.Group):
    """Errors of ours are told in their own words, without a traceback; so are warnings and the log's."""

    def invoke(self, context: click.Context) -> Any:
        fault = ""
        handler = logging.StreamHandler(sys.stderr)
        handler.setLevel(logging.WARNING)
        handler.addFilter(RedactionFilter())
        log = logging.getLogger("dagster_restapi")
        log.addHandler(handler)
        try:
            with warnings.catch_warnings():
                warnings.showwarning = _show_warning
                return super().invoke(context)
        except RestApiError as error:
            fault = str(error)
        finally:
            log.removeHandler(handler)
        raise click.ClickException(fault)


def _show_warning(message: Warning | str, *_: object, **__: object) -> None:
    click.echo(f"Warning: {message}", err=True)


_CONFIG = click.argument("config", metavar="CONFIG")


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(package_name="dagster-restapi", message="%(prog)s %(version)s")
@click.option("--no-functions", is_flag=True, help="Refuse a YAML file that names Python functions: import nothing.")
@click.pass_context
def main(context: click.Context, no_functions: bool) -> None:
    """REST APIs as tables in DuckDB, through Dagster.

    CONFIG is a YAML file, or a dict or RestApiConfig in Python: package.module:attribute or file.py:attribute.
    """
    if no_functions:
        from dagster_restapi.config.functions import import_paths

        context.with_resource(import_paths(allowed=False))


@main.command()
@_CONFIG
@click.argument("resources", metavar="[RESOURCE]...", nargs=-1)
def check(config: str, resources: tuple[str, ...]) -> None:
    """Ask every endpoint for one page, and tell what was found.

    For each resource: whether it answers, how it pages, where its rows are, its key and fields. Nothing is stored.
    The exit code is 1 if a resource failed.
    """
    from dagster_restapi.cli.check import check as run_check
    from dagster_restapi.cli.output import Output
    from dagster_restapi.cli.source import read_config

    sys.exit(run_check(read_config(config), resources, Output()))


@main.command()
@_CONFIG
@click.argument("resource")
@click.option("--pages", type=click.IntRange(min=1), default=1, show_default=True, help="Pages to fetch at the most.")
@click.option("--rows", type=click.IntRange(min=0), default=5, show_default=True, help="Rows to show at the most.")
@click.option("--partition", metavar="KEY", help="A partition. Default: the newest window, or the first key.")
def preview(config: str, resource: str, pages: int, rows: int, partition: str | None) -> None:
    """Show requests, first rows and columns of one resource. Nothing is stored."""
    from dagster_restapi.cli.output import Output
    from dagster_restapi.cli.preview import preview as run_preview
    from dagster_restapi.cli.source import read_config

    run_preview(read_config(config), resource, pages=pages, rows=rows, output=Output(), partition=partition)


@main.command()
def schema() -> None:
    """Print the JSON schema of a configuration, for editors."""
    from dagster_restapi.config.source import RestApiConfig

    found = {"$schema": "https://json-schema.org/draft/2020-12/schema", **RestApiConfig.model_json_schema()}
    click.echo(json.dumps(found, indent=2, ensure_ascii=False))


@main.command()
@click.argument("source", metavar="URL|OPENAPI")
@click.option("-o", "--output", "file", type=click.Path(dir_okay=False), help="The file to write. Default: print it.")
@click.option("--only", multiple=True, metavar="PATTERN", help="Paths of the description to take, as /repos/*/issues.")
@click.option("--force", is_flag=True, help="Write over a file that exists.")
def init(source: str, file: str | None, only: tuple[str, ...], force: bool) -> None:
    """Write a first configuration, with comments.

    From an OpenAPI 3 description (JSON or YAML, a file or a URL), or from the base URL of an API, which is asked once.
    """
    from pathlib import Path

    from dagster_restapi.cli.init import init as make
    from dagster_restapi.cli.output import Output

    if file is not None and Path(file).exists() and not force:
        raise click.UsageError(f"{file} exists already; --force writes over it.")
    written = make(source, only)
    output = Output()
    if file is None:
        click.echo(written.text, nl=False)
    else:
        Path(file).write_text(written.text, encoding="utf-8")
    for remark in written.remarks:
        output.note(remark)
    if file is not None:
        output.note(f"Written to {file}. Next: dagster-restapi check {file}")


@main.command()
@_CONFIG
@click.option("--select", multiple=True, metavar="RESOURCE", help="Only this one; +RESOURCE with its parents.")
@target_options
@click.option("--full-refresh", is_flag=True, help="Forget cursors, fetch everything again, replace the tables.")
@click.option("--start-value", help="Load from this cursor value on; the stored cursor stays.")
@click.option("--end-value", help="Load up to this cursor value; the stored cursor stays.")
@click.option("--max-pages", type=click.IntRange(min=1), help="Pages of each walk at the most; cursors stay.")
@click.option("--parents", type=click.Choice(["all", "changed"]), help="Which rows of the parent children ask with.")
@click.option("--partition", metavar="KEY|FROM...TO", help="Partitions. Default: the windows not loaded yet; all keys.")
@click.option("-v", "--verbose", is_flag=True, help="Show the run's log, and tracebacks of errors.")
def run(
    config: str, database: str | None, schema: str | None, key_prefix: str, select: tuple[str, ...], **wishes: Any
) -> None:
    """Load the resources into DuckDB, without writing Python.

    Events go to the Dagster instance of DAGSTER_HOME, if that is set. Without it, the ledger in the database says where
    the next run goes on. The exit code is 1 if a resource failed.
    """
    from dagster_restapi.cli.output import Output
    from dagster_restapi.cli.run import Wishes
    from dagster_restapi.cli.run import run as run_assets
    from dagster_restapi.cli.source import read_config

    parsed, file = read_config(config), database_of(database, config)
    asked = Wishes(database=file, schema=schema, key_prefix=prefix_of(key_prefix), select=select, **wishes)
    sys.exit(run_assets(parsed, asked, Output()))


@main.command()
@_CONFIG
@click.argument("action", metavar="[RESOURCE | reset RESOURCE | rename ASSET RESOURCE]", nargs=-1)
@target_options
@click.option("--partition", help="Of reset: this partition only.")
@click.option("--parent", metavar="KEY", help="Of reset: the cursor for this row of the parent only.")
@click.option("--drop-rows", is_flag=True, help="Of reset: remove the rows as well. Asks first.")
@click.option("--yes", is_flag=True, help="Of --drop-rows: do not ask.")
def state(
    config: str, action: tuple[str, ...], database: str | None, schema: str | None, key_prefix: str, **options: Any
) -> None:
    """Show cursors and last loads, of all resources or of one; reset one; or rename an asset.

    After a reset the next load starts at the beginning, and the rows stay in their tables. ASSET is the former key of
    an asset, as the ledger has it: its loads, cursors and tables become those of RESOURCE.
    """
    from dagster_restapi.cli.output import Output
    from dagster_restapi.cli.source import read_config
    from dagster_restapi.cli.state import State
    from dagster_restapi.tables.target import Target

    match action:
        case ("reset" | "rename",) | ("rename", _):
            raise click.UsageError("Write: reset RESOURCE, or: rename ASSET RESOURCE")
        case ("reset", _):
            if options["drop_rows"] and options["parent"] is not None:
                raise click.UsageError("--drop-rows removes the rows of a resource or partition, not of one parent")
            if options["yes"] and not options["drop_rows"]:
                raise click.UsageError("--yes belongs to --drop-rows")
        case () | (_,) | ("rename", _, _):
            if any(value not in (None, False) for value in options.values()):
                raise click.UsageError("--partition, --parent, --drop-rows and --yes belong to: reset RESOURCE")
        case _:
            raise click.UsageError("Write RESOURCE to see one resource, or: reset RESOURCE, rename ASSET RESOURCE")
    target = Target(database_of(database, config), schema_of(schema, key_prefix))
    found = State(read_config(config), target, prefix_of(key_prefix), Output())
    match action:
        case ("reset", name) if options["drop_rows"]:
            found.drop_rows(name, options["partition"], _agrees(options["yes"]))
        case ("reset", name):
            found.reset(name, options["partition"], options["parent"])
        case ("rename", old, name):
            found.rename(old, name)
        case (name,):
            found.show_one(name)
        case _:
            found.show()


def _agrees(yes: bool) -> Callable[[str], bool]:
    """Asks a person at a terminal; anywhere else there is nobody to ask."""

    def ask(question: str) -> bool:
        if yes:
            return True
        if not sys.stdin.isatty():
            raise click.UsageError("Nobody can be asked here whether rows are to go; --yes says so.")
        return bool(click.confirm(question, err=True))

    return ask
