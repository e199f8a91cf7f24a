"""The `Link` header: whoever writes it, and however (RFC 8288, appendix B; examples of section 3.5)."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dagster_restapi.http.links import links_of

token = st.text("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-._~", min_size=1, max_size=8)
target = st.text(st.characters(codec="ascii", exclude_characters=">\r\n", min_codepoint=33), max_size=30)
blank = st.sampled_from(["", " ", "  ", "\t"])
relation = st.sampled_from(["next", "prev", "first", "last", "self", "https://example.com/rels/part"])


@st.composite
def quoted(draw: st.DrawFn, text: str) -> str:
    """A value in quotes, some of its letters escaped, or bare where it may be."""
    if text.isalnum() and draw(st.booleans()):
        return text
    letters = (f"\\{letter}" if letter in '"\\' or draw(st.booleans()) else letter for letter in text)
    return f'"{"".join(letters)}"'


@st.composite
def cased(draw: st.DrawFn, text: str) -> str:
    return "".join(letter.upper() if draw(st.booleans()) else letter for letter in text)


@st.composite
def links(draw: st.DrawFn) -> tuple[str, dict[str, str]]:
    """A header, and what it says."""
    parts, told = [], dict[str, str]()
    for _ in range(draw(st.integers(0, 4))):
        where, relations = draw(target), draw(st.lists(relation, max_size=3))
        parameters = [(draw(cased("rel")), draw(cased(" ".join(relations))))]
        free = st.text(st.characters(codec="latin-1", exclude_categories=("Cc",)), max_size=12)
        others = draw(
            st.lists(st.tuples(token.filter(lambda name: name.lower() not in ("rel", "anchor")), free), max_size=3)
        )
        parameters = draw(st.permutations([*parameters, *others]))
        written = "".join(
            f"{draw(blank)};{draw(blank)}{name}{draw(blank)}={draw(blank)}{draw(quoted(value))}"
            for name, value in parameters
        )
        parts.append(f"<{where}>{written}")
        for name in relations:
            told.setdefault(name, where)
    return f"{draw(blank)},{draw(blank)}".join(parts), told


@given(links())
def test_every_spelling_says_the_same(link: tuple[str, dict[str, str]]) -> None:
    header, told = link
    assert links_of(header) == told


@pytest.mark.parametrize(
    ("header", "told"),
    [
        ('<http://a.example/2>; rel="previous"; title="previous chapter"', {"previous": "http://a.example/2"}),
        ('</>; rel="http://example.net/foo"', {"http://example.net/foo": "/"}),
        ('</terms>; rel="copyright"; anchor="#foo"', {}),
        (
            "</2>; rel=\"previous\"; title*=UTF-8'de'letztes%20Kapitel, </4>; rel=\"next\"; title*=UTF-8'de'n%c3%a4",
            {"previous": "/2", "next": "/4"},
        ),
        ('</>; rel="start http://example.net/other"', {"start": "/", "http://example.net/other": "/"}),
        ('</>; rel="start", </index>; rel="index"', {"start": "/", "index": "/index"}),
        ("<a>; rel='next'", {"next": "a"}),
        ('<a>; rel=prev; rel=next', {"prev": "a"}),
        ("nonsense, <a>;;; rel=next;", {"next": "a"}),
        ("<a>; rel", {}),
        ("<a", {}),
        ("", {}),
    ],
)  # fmt: skip
def test_what_the_rfc_and_careless_servers_write(header: str, told: dict[str, str]) -> None:
    assert links_of(header) == told


@given(st.text(max_size=60))
def test_nothing_that_stands_there_is_an_error(header: str) -> None:
    assert isinstance(links_of(header), dict)
