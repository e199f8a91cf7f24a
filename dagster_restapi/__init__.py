"""REST APIs as Dagster assets: declarative, incremental, exactly once, in DuckDB."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dagster_restapi.assets.checks import RowCountBounds, build_rest_api_checks
    from dagster_restapi.assets.component import RestApiComponent
    from dagster_restapi.assets.factory import build_rest_api_assets, build_rest_api_definitions
    from dagster_restapi.assets.io_manager import DuckDBRestApiIOManager
    from dagster_restapi.assets.resource import RestApiResource
    from dagster_restapi.assets.run_config import RestApiRunConfig
    from dagster_restapi.assets.sensors import build_rest_api_sensor, new_materializations
    from dagster_restapi.assets.translator import RestApiTranslator, RestApiTranslatorData
    from dagster_restapi.config.auth import register_auth
    from dagster_restapi.config.paginators import register_paginator
    from dagster_restapi.config.source import RestApiConfig
    from dagster_restapi.errors import IgnoreResponse, RestApiError
    from dagster_restapi.extract.check import check_connection
    from dagster_restapi.extract.preview import iter_records
    from dagster_restapi.http.client import RestClient

_HOMES = {
    "DuckDBRestApiIOManager": "assets.io_manager",
    "IgnoreResponse": "errors",
    "RestApiComponent": "assets.component",
    "RestApiConfig": "config.source",
    "RestApiError": "errors",
    "RestApiResource": "assets.resource",
    "RestApiRunConfig": "assets.run_config",
    "RestApiTranslator": "assets.translator",
    "RestApiTranslatorData": "assets.translator",
    "RestClient": "http.client",
    "RowCountBounds": "assets.checks",
    "build_rest_api_assets": "assets.factory",
    "build_rest_api_checks": "assets.checks",
    "build_rest_api_definitions": "assets.factory",
    "build_rest_api_sensor": "assets.sensors",
    "check_connection": "extract.check",
    "iter_records": "extract.preview",
    "new_materializations": "assets.sensors",
    "register_auth": "config.auth",
    "register_paginator": "config.paginators",
}

__all__ = [
    "DuckDBRestApiIOManager",
    "IgnoreResponse",
    "RestApiComponent",
    "RestApiConfig",
    "RestApiError",
    "RestApiResource",
    "RestApiRunConfig",
    "RestApiTranslator",
    "RestApiTranslatorData",
    "RestClient",
    "RowCountBounds",
    "build_rest_api_assets",
    "build_rest_api_checks",
    "build_rest_api_definitions",
    "build_rest_api_sensor",
    "check_connection",
    "iter_records",
    "new_materializations",
    "register_auth",
    "register_paginator",
]


def __getattr__(name: str) -> Any:
    """Imports a public name when it is first used: a script that only sends requests never pays for Dagster."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted([*globals(), *_HOMES])
