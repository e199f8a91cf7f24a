"""Every mistake: its full path, the nearest right key, and no value."""

import pytest

from dagster_restapi.config.mistakes import ConfigMistakes, spell
from dagster_restapi.config.source import RestApiConfig
from dagster_restapi.errors import ConfigError

CANARY = "canary-5ecret"


def source(**resource):
    return {"client": {"base_url": "https://x"}, "resources": ["a", {"name": "b", **resource}]}


def endpoint(**settings):
    return source(endpoint=settings)


MISTAKES = [
    ({"cleint": {}}, "cleint: unknown key", "`client`"),
    ({"client": {"base_ur": "https://x"}}, "client.base_ur: unknown key", "`base_url`"),
    ({"client": {"base_url": "api.example.com"}}, "client.base_url: a base URL starts with", ""),
    ({"client": {"retry": {"atempts": 1}}}, "client.retry.atempts: unknown key", "`attempts`"),
    ({"client": {"rate_limit": {"requests": 0}}}, "client.rate_limit.requests: must be greater", ""),
    ({"client": {"auth": {"type": "bearer", "tokn": CANARY}}}, "client.auth.tokn: unknown key", "`token`"),
    ({"client": {"auth": {"type": "bearrer", "token": CANARY}}}, "client.auth: there is no auth type", "bearer"),
    ({"client": {"auth": {"type": "http_basic", "username": CANARY}}}, "client.auth.password: is missing", ""),
    ({"client": {"paginator": {"type": "ofset"}}}, "client.paginator: unknown paginator type", "offset"),
    ({"client": "https://x"}, "client: must be a mapping", ""),
    ({"resources": "a"}, "resources: must be a list", ""),
    ({"resources": [5]}, "resources[0]: a resource is a name, a mapping, or a function", ""),
    ({"resources": [lambda: [{}]]}, "resources[0]: a function without a name", ""),
    ({"resources": [{"endpoint": "x"}]}, "resources[0].name: is missing", ""),
    ({"resources": ["  "]}, "resources[0]: a name has at least one letter", ""),
    (source(), "client.base_url", None),  # nothing is wrong
    (source(endpont="x"), "resources[1].endpont: unknown key [resource b]", "`endpoint`"),
    (source(params={"a": CANARY}), "resources[1].params: unknown key [resource b]", "resources[1].endpoint"),
    (source(base_url=CANARY), "resources[1].base_url: unknown key", "It belongs in client"),
    (source(file_format="parquet"), "resources[1].file_format: unknown key", "no load files"),
    (source(table_format="iceberg"), "resources[1].table_format: unknown key", "DuckLake"),
    (source(references=[]), "resources[1].references: unknown key", "Foreign keys"),
    (source(incremental={}), "resources[1].incremental: unknown key", "endpoint"),
    (source(table_name=len), "resources[1].table_name: a table name per row is not built", ""),
    (source(primary_key=5), "resources[1].primary_key: must be a text or a list", ""),
    (source(primary_key=["a", 5]), "resources[1].primary_key[1]: must be a text", ""),
    (source(columns={"a": {"data_typ": "x"}}), "resources[1].columns.a.data_typ: unknown key", "`data_type`"),
    (source(columns=[{"name": "a", "data_typ": "x"}]), "resources[1].columns[0].data_typ: unknown", "`data_type`"),
    (source(columns=[{"data_type": "text"}]), "resources[1].columns: every column of a list needs a `name`", ""),
    (source(columns={"a": {"data_type": "txt"}}), "resources[1].columns.a.data_type: must be one of", "text"),
    (source(columns={"a": {"unique": True}}), "resources[1].columns.a.unique: unknown key", "`primary_key`"),
    (source(write_disposition="skip"), "resources[1].write_disposition: must be one of", "`selected: false`"),
    (source(write_disposition="mrge"), "resources[1].write_disposition: must be one of", "merge"),
    (
        source(write_disposition={"disposition": "merge", "strategy": "scd3"}),
        "resources[1].write_disposition.strategy: must be one of",
        "scd2",
    ),
    (
        source(write_disposition={"disposition": "append", "strategy": "scd2"}),
        "resources[1].write_disposition: `strategy` belongs to merge",
        "",
    ),
    (source(write_disposition="merge"), "resources[1].write_disposition: merge needs a `primary_key`", ""),
    (
        source(write_disposition={"disposition": "merge", "strategy": "upsert"}, merge_key="d"),
        "resources[1].write_disposition: the strategy upsert needs a `primary_key`",
        "",
    ),
    (
        source(columns={"a": {"dedup_sort": "asc"}, "b": {"dedup_sort": "desc"}}),
        "resources[1].columns: a, b have `dedup_sort`; one column can have it",
        "",
    ),
    (source(columns={"a": {"hard_delete": True}}), "resources[1].columns.a: `hard_delete` belongs to a merge", ""),
    (
        source(columns={"a": {"dedup_sort": "asc"}}, write_disposition="merge", merge_key="d"),
        "resources[1].columns.a: `dedup_sort` chooses by a `primary_key`",
        "",
    ),
    (source(columns={"a": {"precision": 9}}), "resources[1].columns.a: `precision` belongs to data_type decimal", ""),
    (
        source(columns={"a": {"data_type": "timestamp", "precision": 3}}),
        "resources[1].columns.a: a timestamp has 6 digits",
        "",
    ),
    (
        source(columns={"a": {"data_type": "decimal", "precision": 4}}),
        "resources[1].columns.a: more digits behind the point",
        "",
    ),
    *(
        (
            source(columns={"o": hint, "x__y": {}, "['x.y']": {}, "o.p.q": {"description": "x"}}, **form),
            f"resources[1].columns['o.p.q']: {outer!r} is one column here, and a hint cannot reach into it",
            "`nested: tables`",
        )
        for hint, form, outer in (
            ({}, {"nested": "json"}, "o"),
            ({}, {"nested": "native"}, "o"),
            ({}, {"max_table_nesting": 0}, "o"),
            ({}, {"max_table_nesting": 1}, "o.p"),
            ({"data_type": "json"}, {}, "o"),
        )
    ),
    (source(columns={"o.p": {}, "q__r__s": {}}, max_table_nesting=1), "client", None),
    (source(columns={"a": {"scale": 2}}), "resources[1].columns.a: `scale` belongs to data_type decimal", ""),
    (source(columns={"a": {"timezone": False}}), "resources[1].columns.a: `timezone` belongs to", ""),
    (source(schema_contract={"colums": "freeze"}), "resources[1].schema_contract.colums: unknown", "`columns`"),
    (source(schema_contract="frozen"), "resources[1].schema_contract: must be one of", ""),
    (source(processing_steps=[{"fliter": len}]), "resources[1].processing_steps[0].fliter: unknown", "`filter`"),
    (source(processing_steps=[{"map": len, "filter": len}]), "resources[1].processing_steps[0]: a step is", ""),
    (source(processing_steps=[{"map": CANARY}]), "resources[1].processing_steps[0].map: a function is named", ""),
    (source(processing_steps=[{"map": "no_module:x"}]), "resources[1].processing_steps[0].map: the module", ""),
    (source(concurrency="many"), "resources[1].concurrency: must be a whole number", ""),
    (source(selected="perhaps"), "resources[1].selected: must be true or false", ""),
    (source(include_from_parent=["a"]), "resources[1].include_from_parent: the resource has no parent", ""),
    (source(rows=[{}], endpoint="x"), "resources[1]: a resource has `rows` or an `endpoint`", ""),
    (source(rows=(x for x in [])), "resources[1].rows: a generator can be read only once", ""),
    (source(rows=5), "resources[1].rows: give a list of rows", ""),
    (source(partitions={"type": "dayly"}), "resources[1].partitions: `type` is one of", ""),
    (source(partitions={"type": "daily"}), "resources[1].partitions.start: is missing", ""),
    (source(partitions={"type": "static", "keys": ["a", "a"]}), "resources[1].partitions.keys: a key stands", ""),
    (
        source(partitions={"type": "daily", "start": "soon"}),
        "resources[1].partitions.start: give a date",
        "",
    ),
    (
        source(partitions={"type": "daily", "start": "2024-01-01", "timezone": "Berlin"}),
        "resources[1].partitions.timezone: give the name of a time zone",
        "",
    ),
    (source(automation={"type": "on_cron"}), "resources[1].automation: `cron` belongs to", ""),
    (source(freshness={"warn_window": "1h"}), "resources[1].freshness: give either", ""),
    (source(preview={"row": 1}), "resources[1].preview.row: unknown key", "`rows`"),
    (endpoint(pth="x"), "resources[1].endpoint.pth: unknown key", "`path`"),
    (endpoint(primary_key="id"), "resources[1].endpoint.primary_key: unknown key", "It belongs in resources[1]"),
    (endpoint(params="x"), "resources[1].endpoint.params: must be a mapping", ""),
    (endpoint(params={"a": object()}), "resources[1].endpoint.params: a object cannot be sent", ""),
    (endpoint(headers=["x"]), "resources[1].endpoint.headers: must be a mapping", ""),
    (endpoint(method="GET /"), "resources[1].endpoint.method: a method is one word", ""),
    (endpoint(data_selector="a["), "resources[1].endpoint.data_selector: 'a[' is no JSONPath", "data.items"),
    (endpoint(json={"a": 1}, data={"b": 1}), "resources[1].endpoint: `json` and `data` exclude each other", ""),
    (
        endpoint(paginator={"type": "offset", "limit": 1, "limit_parm": CANARY}),
        "resources[1].endpoint.paginator.limit_parm: unknown key",
        "`limit_param`",
    ),
    (endpoint(paginator={"type": "offset"}), "resources[1].endpoint.paginator.limit: is missing", ""),
    (
        endpoint(response_actions=[{"status_code": "404", "action": "ignore"}]),
        "resources[1].endpoint.response_actions[0].status_code: ",
        "without quotes",
    ),
    (endpoint(response_actions=[{"status_code": 404, "action": "ignor"}]), "resources[1].endpoint.response_acti", ""),
    (
        endpoint(incremental={"cursor_pth": "u"}),
        "resources[1].endpoint.incremental.cursor_pth: unknown",
        "`cursor_path`",
    ),
    (
        endpoint(incremental={"cursor_path": "u", "row_order": "dsc"}),
        "resources[1].endpoint.incremental.row_order: must be one of asc, desc",
        "desc",
    ),
    (endpoint(incremental={"cursor_path": "u", "lag": -1}), "resources[1].endpoint.incremental.lag: must be", ""),
    (endpoint(incremental={"cursor_path": "u", "end_value": 1}), "resources[1].endpoint.incremental: `end_value`", ""),
    (
        endpoint(incremental={"cursor_path": "u", "initial_value": "2024-02-01", "end_value": "2024-01-01"}),
        "resources[1].endpoint.incremental: `initial_value` and `end_value` leave no range",
        "",
    ),
    (
        endpoint(incremental={"cursor_path": "u", "initial_value": True}),
        "resources[1].endpoint.incremental.initial_value: ",
        "a date",
    ),
    (
        endpoint(incremental={"cursor_path": "u", "last_value_func": sum}),
        "resources[1].endpoint.incremental.last_value_func: must be one of max, min",
        "",
    ),
    (
        endpoint(incremental={"cursor_path": "u", "primary_key": "id"}),
        "resources[1].endpoint.incremental.primary_key: unknown key",
        "compared",
    ),
    (
        endpoint(incremental={"cursor_path": "u", "start_param": "since"}, params={"since": 1}),
        "resources[1].endpoint.incremental.start_param: `params` has a 'since' too",
        "",
    ),
    (
        endpoint(params={"x": {"type": "incremental", "cursor_path": "u"}}, incremental={"cursor_path": "v"}),
        "resources[1].endpoint: one cursor only",
        "",
    ),
    (
        endpoint(params={"x": {"type": "resolve", "resource": "a"}}),
        "resources[1].endpoint.params: the parameter 'x' of type resolve needs",
        "",
    ),
    (endpoint(path="x/{resources.c.id}/y"), "resources[1].endpoint.path: there is no resource 'c'", "There are a, b"),
    (endpoint(path="x/{resources.aa.id}/y"), "resources[1].endpoint.path: there is no resource 'aa'", "`a`"),
    (endpoint(path="x/{resource.a.id}/y"), "resources[1].endpoint.path: {resource.a.id} is no", "{resources.a.id}"),
    (endpoint(path="x/{issue_id}", params={"isue_id": 1}), "resources[1].endpoint.path: {issue_id} is", "{isue_id}"),
    (endpoint(path="x/{id}", params={"id": None}), "resources[1].endpoint.params.id: stands in the path", ""),
    (
        endpoint(json={"query": ["query { user }"]}),
        "resources[1].endpoint.json.query[0]: { user } is no placeholder",
        "doubled",
    ),
    (endpoint(headers={"X": "{incremental.start_value}"}), "resources[1].endpoint.headers.X: {incremental", ""),
    (
        {
            "client": {"base_url": "https://x"},
            "resource_defaults": {"endpoint": {"params": {"p": "{x}"}}},
            "resources": ["a", "b"],
        },
        "resource_defaults.endpoint.params.p: {x} is no placeholder",
        "",
    ),
    ({"resource_defaults": {"name": "x"}}, "resource_defaults.name: unknown key", ""),
    (
        {"resource_defaults": {"endpoint": {"paginator": {"type": "cursor", "x": 1}}}},
        "resource_defaults.endpoint.pag",
        "",
    ),
    ({"resources": ["a", "a"]}, "resources[1].name: resources[0] has the same name", ""),
    ({"resources": ["_restapi_loads"]}, "resources[0].name: names that begin with _restapi", ""),
]


@pytest.mark.parametrize(("config", "told", "hint"), MISTAKES, ids=[told for _, told, _ in MISTAKES])
def test_a_mistake_is_told_once_with_its_path_and_what_is_right(config, told, hint):
    if hint is None:
        RestApiConfig(**config)
        return
    with pytest.raises(ConfigMistakes) as error:
        RestApiConfig(**config)
    text = str(error.value)
    assert len(error.value.mistakes) == 1, text
    assert text.startswith(told)
    assert hint in text
    assert CANARY not in text
    assert isinstance(error.value, ValueError)
    assert error.value.__cause__ is None
    assert error.value.__context__ is None


def test_all_mistakes_are_told_at_once():
    with pytest.raises(ConfigError) as error:
        RestApiConfig(
            client={"base_url": "https://x", "timeout": "never"},
            resources=[{"name": "a", "endpoint": {"pth": "x"}}, {"name": "b", "selected": "no way"}],
        )
    assert str(error.value).splitlines() == [
        "the configuration has 3 mistakes:",
        '  - client.timeout: give seconds as a number, or a text such as "500ms", "30s", "5m" or "1h"',
        "  - resources[0].endpoint.pth: unknown key [resource a]. Did you mean `path`?",
        "  - resources[1].selected: must be true or false [resource b]",
    ]


def test_a_circle_of_resources_is_told_once_and_named():
    with pytest.raises(ConfigError) as error:
        RestApiConfig(
            resources=[
                {"name": name, "endpoint": f"x/{{resources.{parent}.id}}/y"}
                for name, parent in (("tail", "a"), ("a", "b"), ("b", "c"), ("c", "a"))
            ]
        )
    assert str(error.value) == "resources[1].endpoint: the resource waits for itself: a → b → c → a [resource a]"


def test_a_resource_waits_not_for_itself():
    with pytest.raises(ConfigError, match="waits for itself: b → b"):
        RestApiConfig(**endpoint(path="x/{resources.b.id}/y"))


def test_two_parents_are_refused():
    with pytest.raises(ConfigError, match=r"2 parents, a, c; a resource has one"):
        RestApiConfig(
            resources=["a", "c", {"name": "b", "endpoint": "{resources.a.id}/{resources.c.id}/y"}],
        )


@pytest.mark.parametrize("config", [5, None, ["a"], {1: 2}, "no_such_file.yaml"])
def test_what_is_no_configuration_is_a_config_error(config):
    with pytest.raises(ConfigError):
        RestApiConfig.parse(config)


def test_a_dlt_resource_object_is_refused_with_what_to_write():
    kind = type("DltResource", (), {"__module__": "dlt.extract.resource", "__call__": lambda self: []})
    with pytest.raises(ConfigError, match="give its function"):
        RestApiConfig(resources=[kind()])


def test_paths_are_spelled_as_people_write_them():
    assert spell(("resources", 1, "endpoint", "params", "odd key")) == "resources[1].endpoint.params['odd key']"
    assert spell(("columns", "x-y")) == "columns.x-y"
