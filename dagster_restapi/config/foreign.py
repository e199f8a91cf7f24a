"""Keys of dlt's that have no meaning here, and what to do instead: they are refused, never ignored."""

from __future__ import annotations

FOREIGN: dict[str, str] = {  # `Model.key` or `key=value`: the hint that a user gets
    "ResourceSettings.file_format": "There are no load files here: rows go into DuckDB directly. Remove it.",
    "ResourceSettings.table_format": "The target decides: a DuckDB file, or DuckLake in the IO manager. Remove it.",
    "ResourceSettings.references": "Foreign keys are not written into tables; `build_rest_api_checks` checks parents.",
    "ResourceSettings.nested_hints": "Hints for child tables are not built: make a processing step of it.",
    "ResourceSettings.section": "Dagster groups assets: use `group_name`, or the factory's `key_prefix`.",
    "ResourceSettings.incremental": "It belongs in `endpoint`.",
    "ResourceSettings.data_from": "A parent is named by a placeholder, {resources.<name>.<field>}.",
    "ResourceSettings.auth": "It belongs in `endpoint`, or for all resources in `client`.",
    "ResourceSettings.paginator": "It belongs in `endpoint`, or for all resources in `client`.",
    "ResourceSettings.headers": "It belongs in `endpoint`, or for all resources in `client`.",
    "IncrementalConfig.primary_key": (
        "Rows at the cursor's very value are compared by the resource's primary_key and by content. Remove it."
    ),
    "IncrementalConfig.allow_external_schedulers": "Windows come from `partitions` here. Remove it.",
    "WriteDisposition.active_record_timestamp": "The row that holds now has a null in the second column. Remove it.",
    "WriteDisposition.boundary_timestamp": "The boundary is the time of the load. Remove it.",
    "WriteDisposition.row_version_column_name": "Versions are told apart by _restapi_row_hash. Remove it.",
    "ColumnHint.unique": "Use `primary_key`, or a check of `build_rest_api_checks`.",
    "ColumnHint.sort": "DuckDB keeps no sort order for a column. Remove it.",
    "ColumnHint.partition": "DuckDB has no partitioned tables. Remove it.",
    "ColumnHint.cluster": "DuckDB has no clustered tables. Remove it.",
    "ColumnHint.row_key": "Every row has its `_restapi_id`. Remove it.",
    "ColumnHint.parent_key": "Child rows have their `_restapi_parent_id`. Remove it.",
    "ColumnHint.root_key": "Child rows have their `_restapi_root_id`. Remove it.",
    "ColumnHint.foreign_key": "Child rows have their `_restapi_parent_id`. Remove it.",
    "ColumnHint.variant": "Mixed types widen to one column here. Remove it.",
    "disposition=skip": "To fetch without a table, set `selected: false` on the resource.",
}
