"""The client as a Dagster resource: hand-written assets page through an API, and nobody sees its secrets."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import dagster as dg
import pytest
import requests
from dagster._core.remote_representation.external_data import RepositorySnap
from dagster._serdes import serialize_value
from pydantic import SecretStr

from dagster_restapi import RestApiError, RestApiResource, register_auth
from dagster_restapi.demo import DEMO_TOKEN, SampleApi
from dagster_restapi.errors import ConfigError

CANARY = "canary-5e1f-of-a-token"


def materialize(resource: RestApiResource, **options: Any) -> tuple[dg.ExecuteInProcessResult, list[Any]]:
    rows: list[Any] = []

    @dg.asset
    def issues(api: RestApiResource) -> None:
        rows.extend(row for page in api.get_client().paginate("issues", params={"per_page": 100}) for row in page)

    return dg.materialize([issues], resources={"api": resource}, raise_on_error=False, **options), rows


def everything_stored(resource: RestApiResource) -> str:
    """What a code location tells the UI of a resource and of the jobs that use it, and the resource's own repr."""

    @dg.asset
    def one(api: RestApiResource) -> None: ...

    definitions = dg.Definitions(assets=[one], jobs=[dg.define_asset_job("job")], resources={"api": resource})
    repository = definitions.get_repository_def()
    snap = serialize_value(RepositorySnap.from_def(repository))
    return f"{snap}{resource!r}{resource}{resource.model_dump()}{repository.get_job('job').get_job_snapshot()}"


def test_an_asset_pages_through_the_api_and_its_run_tells_what_that_took(sample_api: SampleApi) -> None:
    resource = RestApiResource(base_url=sample_api.url, auth={"token": DEMO_TOKEN}, paginator="header_link")
    with dg.DagsterInstance.ephemeral() as instance:
        result, rows = materialize(resource, instance=instance)
        lines = [entry.user_message for entry in instance.all_logs(result.run_id)]
    assert result.success
    assert len(rows) == sample_api.tracker.counts()["issues"]
    assert any(line.startswith(f"{sample_api.url}: {len(sample_api.log)} requests, 0 retries") for line in lines)


def test_a_secret_that_dagster_names_is_read_when_a_request_is_made(
    sample_api: SampleApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("SAMPLE_TOKEN", raising=False)
    monkeypatch.delenv("SAMPLE_URL", raising=False)
    resource = RestApiResource(
        base_url=dg.EnvVar("SAMPLE_URL"), auth={"type": "bearer", "token": dg.EnvVar("SAMPLE_TOKEN")}
    )
    assert "SAMPLE_TOKEN" in everything_stored(resource)
    monkeypatch.setenv("SAMPLE_TOKEN", DEMO_TOKEN)
    monkeypatch.setenv("SAMPLE_URL", sample_api.url)
    result, rows = materialize(resource)
    assert result.success
    assert rows
    with resource.get_client() as client:
        assert client.get("repositories").status == 200


class Signature(requests.auth.AuthBase):
    """An auth object of the user's own."""

    def __init__(self, key: str) -> None:
        self.key = key

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        request.headers["Authorization"] = f"Bearer {self.key}"
        return request


register_auth("test_signature", Signature)


@pytest.mark.parametrize(
    "settings",
    [
        {"auth": {"token": CANARY}},
        {"auth": {"type": "bearer", "token": CANARY}},
        {"auth": {"type": "bearer", "token": SecretStr(CANARY)}},
        {"auth": ("user", CANARY)},
        {"auth": {"type": "api_key", "name": "key", "api_key": CANARY, "location": "query"}},
        {
            "auth": {
                "type": "oauth2_client_credentials",
                "access_token_url": "https://x.test/token",
                "client_id": "me",
                "client_secret": CANARY,
                "access_token_request_data": {"password": CANARY, "scope": "all"},
            }
        },
        {"auth": {"type": "test_signature", "key": CANARY}},
        {"auth": Signature(CANARY)},
        {"headers": {"X-Api-Key": CANARY, "Accept": "application/json"}},
        {"proxies": {"https": f"http://user:{CANARY}@proxy.test:3128"}},
    ],
)
def test_a_literal_secret_is_in_nothing_that_dagster_stores_or_shows(settings: Mapping[str, Any]) -> None:
    resource = RestApiResource(base_url="https://x.test", **settings)
    assert CANARY not in everything_stored(resource)
    again = resource.with_replaced_resource_context(dg.build_init_resource_context())
    assert CANARY not in everything_stored(again)


@pytest.mark.parametrize(
    "auth",
    [
        {"token": DEMO_TOKEN},
        {"type": "test_signature", "key": DEMO_TOKEN},
        Signature(DEMO_TOKEN),
        {"type": "api_key", "name": "Authorization", "api_key": f"Bearer {DEMO_TOKEN}"},
    ],
)
def test_a_hidden_secret_still_reaches_the_api(sample_api: SampleApi, auth: Any) -> None:
    result, rows = materialize(RestApiResource(base_url=sample_api.url, auth=auth))
    assert result.success
    assert rows


def test_a_wrong_field_is_told_when_the_resource_is_made_and_not_in_a_run() -> None:
    with pytest.raises(ConfigError, match="bearer") as caught:
        RestApiResource(base_url="https://x.test", auth={"type": "baerer", "token": CANARY})
    assert CANARY not in str(caught.value)
    with pytest.raises(ConfigError, match=r"retry\.atempts.*\n.*attempts"):
        RestApiResource(base_url="https://x.test", retry={"atempts": 3})
    with pytest.raises(ConfigError, match="would be shown to everybody") as caught:
        RestApiResource(base_url=f"https://user:{CANARY}@x.test")
    assert CANARY not in str(caught.value)


def test_fields_may_be_filled_in_at_launch(sample_api: SampleApi) -> None:
    rows: list[Any] = []

    @dg.asset
    def users(api: RestApiResource) -> None:
        rows.extend(api.get_client().get("users").json()["users"])

    config = {"base_url": sample_api.url, "auth": {"type": "bearer", "token": {"env": "LAUNCH_TOKEN"}}}
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LAUNCH_TOKEN", DEMO_TOKEN)
        dg.materialize(
            [users],
            resources={"api": RestApiResource.configure_at_launch()},
            run_config={"resources": {"api": {"config": config}}},
        )
    assert rows


def test_clients_are_closed_with_the_run(sample_api: SampleApi) -> None:
    clients: list[Any] = []

    @dg.asset
    def one(api: RestApiResource) -> None:
        clients.extend((api.get_client(), api.get_client()))
        clients[0].get("repositories")

    dg.materialize([one], resources={"api": RestApiResource(base_url=sample_api.url, auth={"token": DEMO_TOKEN})})
    assert all(client.session._closed.is_set() for client in clients)


def test_errors_in_a_run_name_no_secret(sample_api: SampleApi) -> None:
    result, _ = materialize(RestApiResource(base_url=sample_api.url, auth={"token": CANARY}))
    assert not result.success
    text = "\n".join(str(event.to_string() if hasattr(event, "to_string") else event) for event in result.all_events)
    assert "401" in text
    assert CANARY not in text


def test_the_error_tree_is_the_librarys_own(sample_api: SampleApi) -> None:
    with RestApiResource(base_url=sample_api.url).get_client() as client, pytest.raises(RestApiError):
        client.get("repositories")
