"""Pokémon, berries and locations of PokéAPI as Dagster assets in DuckDB: `dagster dev -f examples/pokeapi.py`.

Environment:
    POKEAPI_URL       another server with the same paths (default: the real API)
    POKEAPI_DATABASE  the DuckDB file (default: pokeapi.duckdb in the current folder)
"""

import os
from typing import Any

from dagster_restapi import DuckDBRestApiIOManager, build_rest_api_definitions

config: dict[str, Any] = {
    "client": {
        "base_url": os.environ.get("POKEAPI_URL", "https://pokeapi.co/api/v2/"),
    },
    "resource_defaults": {
        "endpoint": {
            "params": {
                "limit": 1000,
            },
        },
        "write_disposition": "replace",
    },
    "resources": [
        "pokemon",
        "berry",
        "location",
        {
            "name": "berry_details",  # one request for each berry
            "primary_key": "id",
            "write_disposition": "merge",
            "endpoint": {
                "path": "berry/{resources.berry.name}",
                "params": None,
            },
        },
    ],
}

defs = build_rest_api_definitions(
    config,
    group_name="pokeapi",
    io_manager=DuckDBRestApiIOManager(
        database=os.environ.get("POKEAPI_DATABASE", "pokeapi.duckdb"),
        schema="pokemon_data",
    ),
)
