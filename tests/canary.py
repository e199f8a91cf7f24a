"""A canary in every place of a configuration where a secret can stand."""

from __future__ import annotations

from base64 import b64encode
from typing import Any
from urllib.parse import quote

MARK = "c4nary"  # every secret here begins with it, and no two are the same: none is known before its turn
FORMS = (MARK, *(b64encode(f"{user}:{MARK}".encode()).decode()[:-4] for user in ("me", "id")))


def places(url: str, secret: str, plain: str, variable: str = "CANARY") -> dict[str, dict[str, Any]]:
    """Client settings with the canary in each place; literal, and by environment variable.

    Args:
        url: The API's address.
        secret: With characters that are written differently in URLs and JSON.
        plain: Without them, for headers.
        variable: Names the environment variable that holds `secret`; with _PLAIN behind it, the one that holds `plain`.
    """
    token = {"access_token_url": f"{url}/token", "client_id": "id"}
    found: dict[str, dict[str, Any]] = {
        "bearer": {"auth": {"token": plain}},
        "bearer-env": {"auth": {"token": f"{{env.{variable}_PLAIN}}"}},
        "basic": {"auth": {"type": "http_basic", "username": "me", "password": secret}},
        "basic-env": {"auth": {"type": "http_basic", "username": "me", "password": {"env": variable}}},
        "digest": {"auth": {"type": "http_digest", "username": "me", "password": secret}},
        "header-key": {"auth": {"type": "api_key", "name": "Any-Name", "api_key": plain}},
        "query-key": {"auth": {"type": "api_key", "name": "anyname", "api_key": secret, "location": "query"}},
        "query-key-env": {
            "auth": {"type": "api_key", "name": "q", "api_key": f"{{env.{variable}}}", "location": "query"},
        },
        "cookie-key": {"auth": {"type": "api_key", "name": "sid", "api_key": plain, "location": "cookie"}},
        "client-secret": {"auth": {"type": "oauth2_client_credentials", "client_secret": secret, **token}},
        "client-secret-basic": {
            "auth": {"type": "oauth2_client_credentials", "client_secret": secret, "client_auth": "basic", **token}
        },
        "request-data": {
            "auth": {
                "type": "oauth2_client_credentials",
                "client_secret": "x",
                "access_token_request_data": {"password": secret, "more": {"env": variable}},
                **token,
            }
        },
        "refresh-token": {"auth": {"type": "oauth2_refresh_token", "refresh_token": secret, **token}},
        "login": {
            "auth": {
                "type": "session_login",
                "url": "token",
                "json": {"password": secret},
                "token_path": "access_token",
            }
        },
        "login-query": {
            "auth": {"type": "session_login", "url": "token", "params": {"password": secret}, "token_path": "id"}
        },
        "jwt": {"auth": {"type": "jwt_bearer", "private_key": secret * 3, "algorithm": "HS256"}},
        "header": {"headers": {"X-Api-Key": plain}},
        "header-scheme": {"headers": {"Authorization": f"Token {plain}"}},
        "header-env": {"headers": {"X-Team": f"Team {{env.{variable}_PLAIN}}"}},
        "userinfo": {"base_url": url.replace("://", f"://me:{quote(secret, safe='')}@")},
        "userinfo-env": {"base_url": url.replace("://", f"://me:{{env.{variable}_PLAIN}}@")},
        "path-env": {"base_url": url + f"/bot{{env.{variable}_PLAIN}}"},
        "proxy": {"proxies": {"ftp": f"http://me:{quote(secret, safe='')}@127.0.0.1:9"}},
    }
    return found


def assert_clean(text: str, what: str) -> None:
    for form in FORMS:
        assert form not in text, f"the canary is in {what}: {text[max(0, text.find(form) - 200) :][:400]}"
