"""REST APIs as Dagster assets: declarative, incremental, exactly once, in DuckDB."""
