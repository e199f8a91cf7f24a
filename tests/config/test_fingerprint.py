"""The fingerprint changes with what is asked and where it goes, with nothing else, and holds no secret."""

import os
import subprocess
import sys

import pytest

BASE = {"name": "a", "endpoint": {"path": "x", "params": {"p": 1, "q": "r"}}}


def of(plans, resource=None, **client):
    return plans(resource or BASE, client=client)["a"].fingerprint


@pytest.mark.parametrize(
    "change",
    [
        {"endpoint": {"path": "y"}},
        {"endpoint": {"params": {"p": 2, "q": "r"}, "path": "x"}},
        {"endpoint": {"path": "x", "method": "POST"}},
        {"endpoint": {"path": "x", "data_selector": "data"}},
        {"endpoint": {"path": "x", "paginator": "header_link"}},
        {"endpoint": {"path": "x", "headers": {"Accept": "a"}}},
        {"primary_key": "id"},
        {"write_disposition": "replace"},
        {"table_name": "other"},
        {"columns": {"id": {"data_type": "text"}}},
        {"processing_steps": [{"map": dict}]},
        {"nested": "json"},
    ],
)
def test_what_changes_requests_or_tables_changes_it(plans, change):
    assert of(plans, {**BASE, **change}) != of(plans)


@pytest.mark.parametrize(
    "change",
    [
        {"concurrency": 3},
        {"description": "d"},
        {"owners": ["team:x"]},
        {"tags": {"a": "b"}},
        {"preview": False},
        {"on_error": "skip"},
        {"endpoint": {**BASE["endpoint"], "retry": {"attempts": 9}}},
        {"endpoint": {"params": {"q": "r", "p": 1}, "path": "x"}},
    ],
)
def test_what_only_changes_how_it_is_run_or_shown_does_not(plans, change):
    assert of(plans, {**BASE, **change}) == of(plans)


def test_secrets_count_by_name_only(plans):
    assert of(plans, auth={"token": "1st-0f-two-t0kens"}) == of(plans, auth={"token": "2nd-0f-two-t0kens"})
    assert of(plans, auth={"token": "{env.A}"}) != of(plans, auth={"token": "{env.B}"})
    assert of(plans, headers={"X-Api-Key": "1st-0f-two-keys"}) == of(plans, headers={"X-Api-Key": "2nd-0f-two-keys"})
    keyed = [
        {**BASE, "endpoint": {"path": "x", "params": {"api_key": key}}}
        for key in ("1st-0f-two-keys", "2nd-0f-two-keys")
    ]
    assert of(plans, keyed[0]) == of(plans, keyed[1])
    assert of(plans, base_url="https://u:1st-0f-two-w0rds@x") == of(plans, base_url="https://u:2nd-0f-two-w0rds@x")


def test_a_parent_that_is_walked_within_the_child_counts(plans):
    def child(path, selected):
        return plans(
            {"name": "p", "endpoint": path, "selected": selected}, {"name": "c", "endpoint": "p/{resources.p.id}/c"}
        )["c"].fingerprint

    assert child("one", False) != child("two", False)
    assert child("one", True) == child("two", True)


PROGRAM = """
from dagster_restapi.config.plan import plan
from dagster_restapi.config.source import RestApiConfig
def mine(row): return row
config = RestApiConfig(client={"base_url": "https://x", "auth": {"token": "t0ken"}}, resources=[
    {"name": "a", "processing_steps": [{"map": mine}, {"filter": lambda row: True}],
     "columns": {"b": {"data_type": "text"}, "a": {}},
     "endpoint": {"incremental": {"cursor_path": "u", "convert": mine}}}])
print(plan(config)["a"].fingerprint)
"""


def test_it_is_the_same_in_every_process():
    found = {
        subprocess.run(
            [sys.executable, "-c", PROGRAM],
            env={**os.environ, "PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in ("0", "1")
    }
    assert len(found) == 1
