"""Requests of children are made of the values that the API sent, whatever type the parent's column has."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from typing import Any

import duckdb
import pytest

KEYS = {
    "text beside integers": ([1, 2], "x"),
    "text beside time stamps": (["2024-01-02T03:04:05.000+0100", "2024-01-02T03:04:05.100Z"], "soon"),
    "a fraction beside integers": ([1, 2], 1.5),
    "an object beside integers": ([1, 2], {"b": None, "a": [1.0, "x"]}),
    "integers beside a float": ([1.0, 2.0], 2**60),
}
widening = pytest.mark.parametrize(("first", "then"), KEYS.values(), ids=KEYS.keys())


class Parents:
    """An API with parents, and children that are asked for with a parent's key in a body, where its type is seen."""

    def __init__(self, api: Any, *keys: Any) -> None:
        self.api, self.rows, self.refused = api, list[dict[str, Any]](), list[Any]()
        self.also: Callable[[Any], Any] = in_utc  # another spelling under which the API knows a parent
        for key in keys:
            self.add(key)
        api.route("/parents", lambda _: self.rows)
        api.route("/children", self._children)

    def add(self, key: Any, at: int | None = None) -> None:
        number = len(self.rows) + 1
        self.rows.append({"n": number, "k": key, "at": at or number})

    def _children(self, request: Any) -> Any:
        key = request.json()["k"]
        if any(spelled(key) == spelled(one) for one in self.refused):
            return 500, {}
        of = next(row["k"] for row in self.rows if spelled(key) in (spelled(row["k"]), spelled(self.also(row["k"]))))
        return [{"of": spelled(of), "u": number} for number in (1, 2)]

    def asked(self) -> list[str]:
        """The bodies' keys as JSON, since this was last asked for."""
        bodies = [spelled(request.json()["k"]) for request in self.api.seen("/children")]
        self.api.requests.clear()
        return sorted(bodies)


def spelled(key: Any) -> str:
    return json.dumps(key, sort_keys=True)


def keys_of(*keys: Any) -> list[str]:
    return sorted(map(spelled, keys))


def resources(child: dict[str, Any], incremental: dict[str, Any] | None = None) -> list[dict[str, Any]]:
    parents = {
        "name": "parents",
        "primary_key": "n",
        "write_disposition": "merge",
        "nested": "json",
        "endpoint": {"path": "parents", "incremental": {"cursor_path": "at"}},
    }
    endpoint = {"path": "children", "method": "POST", "json": {"k": "{resources.parents.k}"}}
    if incremental:
        endpoint["incremental"] = incremental
    return [
        parents,
        {"name": "children", "nested": "json", "endpoint": endpoint, "include_from_parent": ["k"], **child},
    ]


def stored(house: Any) -> Counter[tuple[str, int]]:
    return Counter(house.query("SELECT of, u FROM tracker.children"))


def exactly(*keys: Any) -> Counter[tuple[str, int]]:
    return Counter((spelled(key), number) for key in keys for number in (1, 2))


APPEND, MERGE = {"write_disposition": "append"}, {"write_disposition": "merge", "primary_key": ["of", "u"]}


@widening
@pytest.mark.parametrize(
    ("child", "incremental"),
    [(APPEND, {"cursor_path": "u"}), (MERGE, {"cursor_path": "u"}), (MERGE, None)],
    ids=["append with a cursor", "merge with a cursor", "merge"],
)
def test_keys_are_the_same_after_their_column_became_wider(
    source: Callable[..., Any], api: Any, first: list[Any], then: Any, child: dict[str, Any], incremental: Any
) -> None:
    parents = Parents(api, *first)
    house = source(*resources(child, incremental))
    house.load("parents", "children")
    assert parents.asked() == keys_of(*first)
    before = house.query("SELECT data_type FROM duckdb_columns() WHERE table_name = 'parents' AND column_name = 'k'")
    parents.add(then)
    for _ in range(2):
        told = house.load("parents", "children", parents="all")
        assert parents.asked() == keys_of(*first, then)
        assert told["parents"] == 3
        assert stored(house) == exactly(*first, then)
    assert before != house.query(
        "SELECT data_type FROM duckdb_columns() WHERE table_name = 'parents' AND column_name = 'k'"
    )
    if incremental:
        assert told["cursors"]["count"] == 3


@widening
def test_a_child_without_a_cursor_asks_for_the_parents_that_changed_alone(
    source: Callable[..., Any], api: Any, first: list[Any], then: Any
) -> None:
    parents = Parents(api, *first)
    house = source(*resources(APPEND))
    house.load("parents", "children")
    parents.asked()
    parents.add(then)
    house.load("parents", "children")
    assert parents.asked() == keys_of(then)
    assert stored(house) == exactly(*first, then)


@widening
def test_a_refused_parent_is_asked_again_under_its_own_key(
    source: Callable[..., Any], api: Any, first: list[Any], then: Any
) -> None:
    parents = Parents(api, *first)
    parents.refused = first[1:]
    house = source(*resources({**APPEND, "on_error": "skip"}))
    told = house.load("parents", "children")
    assert told["failed_parents"] == [{"k": first[1]}]
    parents.asked()
    parents.add(then)
    parents.refused = []
    house.load("parents", "children")
    assert parents.asked() == keys_of(first[1], then)
    assert stored(house) == exactly(*first, then)


def test_what_is_included_has_the_spelling_of_the_api(source: Callable[..., Any], api: Any) -> None:
    parents = Parents(api, "2024-01-02T03:04:05.000+0100", "soon", [{"b": None, "a": 1.10}, 2**64 + 1])
    settings = resources(APPEND)
    settings[1]["columns"] = {"_parents_k": {"data_type": "text"}}
    house = source(*settings)
    house.load("parents", "children")
    parents.asked()
    assert [row for (row,) in house.query("SELECT DISTINCT _parents_k FROM tracker.children ORDER BY 1")] == [
        "2024-01-02T03:04:05.000+0100",
        '[{"a":1.1,"b":null},18446744073709551617]',
        "soon",
    ]


def test_a_parent_that_got_a_table_has_the_same_keys(source: Callable[..., Any], api: Any) -> None:
    """Walked in memory, its keys are what the API sent: so they are in the table."""
    parents = Parents(api, 1.0, "2024-01-02T03:04:05.000+0100", 1)
    settings = resources(APPEND, {"cursor_path": "u"})
    walked = [{**settings[0], "selected": False, "endpoint": {"path": "parents"}}, settings[1]]
    house = source(*walked)
    house.load("children")
    assert parents.asked() == keys_of(1.0, "2024-01-02T03:04:05.000+0100", 1)
    house = source(*settings)
    told = house.load("parents", "children", parents="all")
    assert parents.asked() == keys_of(1.0, "2024-01-02T03:04:05.000+0100", 1)
    assert told["cursors"]["count"] == 3
    assert stored(house) == exactly(1.0, "2024-01-02T03:04:05.000+0100", 1)


def test_the_number_and_its_text_are_two_parents(source: Callable[..., Any], api: Any) -> None:
    parents = Parents(api, 1, "1", 1.0, True, "true")
    house = source(*resources(APPEND))
    house.load("parents", "children")
    assert parents.asked() == keys_of(1, "1", 1.0, True, "true")


def test_only_resources_with_stored_children_keep_what_requests_are_made_of(
    source: Callable[..., Any], api: Any
) -> None:
    Parents(api, 1)
    house = source(*resources(APPEND))
    house.load("parents", "children")
    found = house.query("SELECT table_name FROM duckdb_columns() WHERE column_name = '_restapi_request_fields'")
    assert found == [("parents",)]
    assert house.query("SELECT _restapi_request_fields FROM tracker.parents") == [('{"k":1}',)]


# ---- a child that comes later ----------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    "parent",
    [
        {},
        {"write_disposition": "append"},
        {"write_disposition": {"disposition": "merge", "strategy": "scd2"}},
        {"write_disposition": {"disposition": "merge", "strategy": "insert-only"}},
        {"write_disposition": "replace", "endpoint": {"path": "parents"}},
        {"endpoint": {"path": "parents"}},
    ],
    ids=["merge", "append", "scd2", "insert-only", "replace", "merge without a cursor"],
)
def test_rows_that_come_again_get_their_spelling_and_are_no_change(
    source: Callable[..., Any], api: Any, parent: dict[str, Any]
) -> None:
    parents = Parents(api, "2024-01-02T03:04:05.000+0100")
    settings = resources(MERGE)
    settings[0] |= parent
    house = source(settings[0])
    first = house.load("parents")
    house = source(*settings)
    house.load("children")
    assert parents.asked() == keys_of("2024-01-02T02:04:05Z"), "all that the table has of it so far"
    told = house.load("parents", "children", parents="all")
    assert parents.asked() == keys_of("2024-01-02T03:04:05.000+0100")
    loads = {load for (load,) in house.query("SELECT _restapi_load_id FROM tracker.parents")}
    assert loads == {first["load_id"]}
    assert told["parents"] == 1


# ---- databases of earlier versions -----------------------------------------------------------------------------------
class Older:
    """Makes of a database what earlier versions left: they read keys from typed columns, and kept nothing beside them.

    Such a version cannot run here. All it did otherwise is undone in SQL: the columns go, and keys in cursors and lists
    of failed parents get the spelling that a column of the type gives them.
    """

    def __init__(self, house: Any) -> None:
        self._house = house

    def make(self, spell: Callable[[Any], Any]) -> None:
        with duckdb.connect(str(self._house.database)) as connection:
            connection.execute("ALTER TABLE tracker.parents DROP COLUMN _restapi_request_fields")
            connection.execute("ALTER TABLE tracker._restapi_cursors DROP COLUMN spelling")
            for (key,) in connection.execute("SELECT parent_key FROM tracker._restapi_cursors").fetchall():
                values = [self._respelled(json.loads(key), spell), key]
                connection.execute("UPDATE tracker._restapi_cursors SET parent_key = ? WHERE parent_key = ?", values)
            for load, failed in connection.execute(
                "SELECT load_id, failed_parents FROM tracker._restapi_loads"
            ).fetchall():
                text = f"[{','.join(self._respelled(key, spell) for key in json.loads(failed))}]"
                connection.execute(
                    "UPDATE tracker._restapi_loads SET failed_parents = ? WHERE load_id = ?", [text, load]
                )

    def _respelled(self, key: dict[str, Any], spell: Callable[[Any], Any]) -> str:
        return json.dumps({name: spell(value) for name, value in key.items()}, separators=(",", ":"))


def in_utc(value: Any) -> Any:
    """What a TIMESTAMPTZ column makes of the two time stamps."""
    spellings = {
        "2024-01-02T03:04:05.000+0100": "2024-01-02T02:04:05Z",
        "2024-01-02T03:04:05.100Z": "2024-01-02T03:04:05.100000Z",
    }
    return spellings.get(value, value) if isinstance(value, str) else value


def as_text(value: Any) -> Any:
    return in_utc(value) if isinstance(value, str) else f"{value:g}"


SPELLED = {
    "of today's column": ([1, 2, "x"], as_text),
    "of a column that has become wider since": ([1, 2, "x"], lambda value: value),
    "time stamps in UTC": (["2024-01-02T03:04:05.000+0100", "2024-01-02T03:04:05.100Z"], in_utc),
    "time stamps beside text": (["2024-01-02T03:04:05.000+0100", "2024-01-02T03:04:05.100Z", "soon"], in_utc),
    "whole numbers": ([1.0, 2.5], lambda value: int(value) if value == int(value) else value),
}
older = pytest.mark.parametrize(("keys", "spell"), SPELLED.values(), ids=SPELLED.keys())


@older
@pytest.mark.parametrize("again", [True, False], ids=["parents come again", "parents stay as they are"])
def test_cursors_of_earlier_versions_are_found_and_respelled(
    source: Callable[..., Any], api: Any, keys: list[Any], spell: Callable[[Any], Any], again: bool
) -> None:
    parents = Parents(api, *keys)
    parents.also = as_text if len(keys) > 2 else spell
    settings = resources(APPEND, {"cursor_path": "u"})
    del settings[1]["include_from_parent"]  # the rows at the cursor would have other content
    house = source(*settings)
    house.load("parents", "children")
    Older(house).make(spell)
    for row in parents.rows if again else ():
        row |= {"at": row["at"] + 10, "more": 1}
    parents.asked()
    for _ in range(2):
        told = house.load(*(["parents"] if again else []), "children", parents="all")
        assert len(parents.asked()) == len(keys)
        assert (stored(house), told["rows_inserted"]) == (exactly(*keys), 0)
        assert told["cursors"]["count"] == len(keys)
    known = house.query("SELECT parent_key, spelling FROM tracker._restapi_cursors")
    if again:
        assert sorted(known) == sorted((json.dumps({"k": key}, separators=(",", ":")), "api") for key in keys)


def test_a_row_of_an_earlier_version_gets_its_own_spelling_later(source: Callable[..., Any], api: Any) -> None:
    """Its cursor is stored meanwhile, by a key that is still the column's."""
    key = "2024-01-02T03:04:05.000+0100"
    parents = Parents(api, key)
    settings = resources(APPEND, {"cursor_path": "u"})
    del settings[1]["include_from_parent"]
    api.route("/children", lambda _: [{"of": "it", "u": 1}])
    house = source(*settings)
    house.load("parents", "children")
    Older(house).make(in_utc)
    told = house.load("children", parents="all")
    assert house.query("SELECT parent_key, spelling FROM tracker._restapi_cursors") == [
        (f'{{"k":"{in_utc(key)}"}}', None)
    ]
    parents.rows[0] |= {"at": 9, "more": 1}
    told = house.load("parents", "children", parents="all")
    assert (told["rows_inserted"], told["cursors"]["count"]) == (0, 1)
    assert house.query("SELECT parent_key, spelling FROM tracker._restapi_cursors") == [(f'{{"k":"{key}"}}', "api")]


def test_two_cursors_that_a_widening_left_for_one_parent_become_one(source: Callable[..., Any], api: Any) -> None:
    parents = Parents(api, 1, "x")
    settings = resources(APPEND, {"cursor_path": "u"})
    del settings[1]["include_from_parent"]
    house = source(*settings)
    house.load("parents", "children")
    Older(house).make(as_text)
    with duckdb.connect(str(house.database)) as connection:  # of the time when all keys were integers
        connection.execute(
            "INSERT INTO tracker._restapi_cursors BY NAME SELECT * REPLACE ('{\"k\":1}' AS parent_key, '0' AS value) "
            'FROM tracker._restapi_cursors WHERE parent_key = \'{"k":"1"}\''
        )
    parents.rows[0] |= {"at": 9, "more": 1}
    told = house.load("parents", "children", parents="all")
    assert (told["rows_inserted"], told["cursors"]["count"]) == (0, 2)
    assert stored(house) == exactly(1, "x")
    assert house.query("SELECT value FROM tracker._restapi_cursors") == [("2",), ("2",)]


@older
def test_failed_parents_of_earlier_versions_are_asked_again(
    source: Callable[..., Any], api: Any, keys: list[Any], spell: Callable[[Any], Any]
) -> None:
    parents = Parents(api, *keys)
    parents.refused = keys[:1]
    settings = resources({**APPEND, "on_error": "skip"})
    del settings[1]["include_from_parent"]
    house = source(*settings)
    house.load("parents", "children")
    Older(house).make(spell)
    parents.refused, parents.also = [], as_text if len(keys) > 2 else spell
    parents.asked()
    house.load("children")
    assert len(parents.asked()) == 1
    assert stored(house) == exactly(*keys)
    house.load("children")
    assert parents.asked() == []


def test_a_parent_that_failed_before_is_no_new_reason_to_refuse_a_replacement(
    source: Callable[..., Any], api: Any, failure_of: Callable[..., str]
) -> None:
    key = "2024-01-02T03:04:05.000+0100"
    parents = Parents(api, key, "2024-01-02T03:04:05.100Z")
    parents.refused = [key]
    settings = resources({"write_disposition": "replace", "on_error": "skip"})
    house = source(*settings)
    house.load("parents", "children")
    Older(house).make(in_utc)
    for row in parents.rows:
        row |= {"at": 9, "more": 1}
    house.load("parents", "children")
    parents.refused.append("2024-01-02T03:04:05.100Z")
    parents.add("2024-05-05T03:04:05.100Z", at=99)
    assert "requests of 1 parents failed" in failure_of(house.run("parents", "children"))


# ---- elements, and what is not there ---------------------------------------------------------------------------------
@pytest.mark.parametrize("selected", [True, False])
@pytest.mark.parametrize("child", [APPEND, MERGE], ids=["append", "merge"])
def test_elements_of_a_list_are_parents_of_their_own_whether_stored_or_not(
    source: Callable[..., Any], api: Any, selected: bool, child: dict[str, Any]
) -> None:
    rows: list[dict[str, Any]] = []
    api.route("/posts", lambda request: rows)
    api.route("/label", lambda request: [{"of": request.query["id"], "u": 1}, {"of": request.query["id"], "u": 2}])
    endpoint = {
        "path": "label",
        "params": {"id": "{resources.posts.labels[*].id}"},
        "incremental": {"cursor_path": "u"},
    }
    posts = {"name": "posts", "primary_key": "n", "write_disposition": "merge", "selected": selected}
    house = source(posts, {"name": "items", "endpoint": endpoint, "include_from_parent": ["labels[*].name"], **child})
    assets = ("posts", "items") if selected else ("items",)

    def asked() -> list[str]:
        ids = sorted(request.query["id"] for request in api.seen("/label"))
        api.requests.clear()
        return ids

    assert house.load(*assets)["parents"] == 0
    rows.append({"n": 1})
    assert house.load(*assets, parents="all")["skipped_parents"] == 1
    rows[0]["labels"] = [{"id": 1, "name": "a"}, {"id": 2, "name": "b"}]
    rows.append({"n": 2, "labels": [{"id": 2, "name": "c"}, {"name": "d"}]})
    told = house.load(*assets, parents="all")
    assert (told["parents"], told["skipped_parents"], told["cursors"]["count"]) == (2, 1, 2)
    assert asked() == ["1", "2"]
    rows[1]["labels"].append({"id": 3})
    house.load(*assets, parents="all")
    assert asked() == ["1", "2", "3"]
    found = house.query("SELECT DISTINCT of, _posts_labels_x_name FROM tracker.items ORDER BY 1, 2")
    assert found == [("1", "a"), ("2", "c"), ("3", None)]
    assert house.query("SELECT count(*) FROM tracker.items") == [(6,)]


def test_a_child_added_to_a_parent_that_is_loaded_asks_for_its_elements(source: Callable[..., Any], api: Any) -> None:
    api.route("/posts", [{"n": 1, "labels": [{"id": 1}, {"id": 2}]}])
    api.route("/label", lambda request: [{"of": request.query["id"]}])
    posts = {"name": "posts", "primary_key": "n", "write_disposition": "merge"}
    house = source(posts)
    house.load("posts")
    endpoint = {"path": "label", "params": {"id": "{resources.posts.labels[*].id}"}}
    house.config["resources"].append({"name": "items", "endpoint": endpoint})
    house.load("items")
    assert house.query("SELECT of FROM tracker.items ORDER BY 1") == [("1",), ("2",)]


def test_a_stored_parent_that_never_had_the_field_has_no_children_and_the_run_says_so(
    source: Callable[..., Any], api: Any
) -> None:
    api.route("/posts", [{"n": 1, "ident": 5}])
    posts = {"name": "posts", "primary_key": "n", "write_disposition": "merge"}
    house = source(posts, {"name": "items", "endpoint": "posts/{resources.posts.id}/items"})
    told = house.load("posts", "items")
    assert (told["parents"], told["skipped_parents"]) == (0, 1)
    assert "no row of posts has a field 'id'; there are ident" in told["warnings"][0]


@pytest.mark.parametrize(
    "field", ["_repos_owner.login", "_repos_owner_login", "_repos_owner__login", "['_repos_owner.login']"]
)
@pytest.mark.parametrize("selected", [True, False])
def test_what_a_parent_includes_is_named_by_its_key_or_its_column(
    source: Callable[..., Any], api: Any, field: str, selected: bool
) -> None:
    api.route("/repos", [{"id": 1, "owner": {"login": "ada"}}])
    api.route("/repos/1/issues", [{"n": 7}])
    api.route("/ada/7", [{"found": True}])
    dot = "" if field.startswith("[") else "."
    house = source(
        {"name": "repos", "selected": selected},
        {
            "name": "issues",
            "selected": selected,
            "endpoint": "repos/{resources.repos.id}/issues",
            "include_from_parent": ["owner.login"],
        },
        {"name": "items", "endpoint": f"{{resources.issues{dot}{field}}}/{{resources.issues.n}}"},
    )
    house.load(*(["repos", "issues"] if selected else []), "items")
    assert house.query("SELECT found FROM tracker.items") == [(True,)]
