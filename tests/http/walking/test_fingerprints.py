"""Pages are told apart by a few of their records, unless those are alike."""

from __future__ import annotations

import pytest

from dagster_restapi.http.circles import fingerprint_of_page


@pytest.mark.parametrize("changed", [0, 1, 57, 98, 99])
def test_pages_of_like_rows_are_compared_wholly(changed: int) -> None:
    quiet = [{"value": 0} for _ in range(100)]
    spike = [{"value": int(number == changed)} for number in range(100)]
    assert fingerprint_of_page(quiet) != fingerprint_of_page(spike)


@pytest.mark.parametrize("rows", [1, 16, 17, 100])
def test_the_same_rows_are_the_same_page_and_a_row_less_is_another(rows: int) -> None:
    page = [{"id": number} for number in range(rows)]
    assert fingerprint_of_page(page) == fingerprint_of_page([dict(row) for row in page])
    assert fingerprint_of_page(page) != fingerprint_of_page(page[:-1])
    assert fingerprint_of_page(page) != fingerprint_of_page([*page[:-1], {"id": -1}])


def test_a_lone_surrogate_can_be_compared() -> None:
    page = [{"id": number, "text": "\ud800"} for number in range(40)]
    assert fingerprint_of_page(page) == fingerprint_of_page(list(page))
