"""From described operations to resources: their names, parents, keys and parameters."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from dagster_restapi.cli.key_guess import GLOBAL, by_likelihood, singular
from dagster_restapi.cli.starter.openapi import Document, Shape, spell
from dagster_restapi.cli.starter.operations import Listing, Parameter, is_slot, slots
from dagster_restapi.cli.starter.paging import plain
from dagster_restapi.cli.starter.plan import CHANGE_ME, CursorHint, Param, Resource
from dagster_restapi.config.placeholders import escape

_SINCE = re.compile(r"(?:since|(?:updated|modified|changed|created)(?:_at)?_(?:since|after|from|gte?|min|start))")
_UPDATED = ("updated_at", "updated", "modified_at", "last_modified", "modified", "last_updated", "changed_at")
_CREATED = ("created_at", "created", "created_on", "created_date")
_NAMING = ("login", "name", "slug", "key", "id", "username", "code", "number")
"""Fields that a parameter may mean that has only the parent's name: `/users/{user}`."""


@dataclass(slots=True)
class _Draft:
    """A resource on its way: what its children may still add to it."""

    listing: Listing
    name: str
    parent: _Draft | None = None
    slots: dict[str, str] = field(default_factory=dict)  # parameter -> placeholder, of those that the parent gives
    include: list[str] = field(default_factory=list)  # fields of the parent that its own rows carry on
    notes: list[str] = field(default_factory=list)


def resources(document: Document, found: Sequence[Listing]) -> list[Resource]:
    """A resource for each operation, in the same order."""
    drafts = {listing.path: _Draft(listing, name) for listing, name in zip(found, _names(found), strict=True)}
    by_shape = {_blank(listing.segments): drafts[listing.path] for listing in found}
    for draft in sorted(drafts.values(), key=lambda draft: len(draft.listing.segments)):
        _find_parent(document, draft, by_shape)
    keys = {draft.name: _key(draft) for draft in drafts.values()}
    return [_resource(document, draft, keys[draft.name]) for draft in drafts.values()]


def _blank(segments: Sequence[str]) -> tuple[str, ...]:
    """The segments with all parameters alike: descriptions call the same one by several names."""
    return tuple("{}" if is_slot(segment) else segment for segment in segments)


# ---- names -----------------------------------------------------------------------------------------------------------
def _names(found: Sequence[Listing]) -> list[str]:
    """The last word of each path; with the words before it, where several paths end alike."""
    names: dict[str, str] = {}
    for listing in sorted(found, key=lambda listing: (len(listing.segments), listing.path)):
        words = [word for word in map(_word, listing.segments) if word]
        spelled = [words[-1] if words else "items"]
        if len(words) > 1:
            spelled.append(f"{singular(words[-2])}_{words[-1]}")
            spelled.append("_".join(words))
        spelled += [f"{spelled[-1]}_{number}" for number in range(2, len(found) + 2)]
        names[listing.path] = next(name for name in spelled if name not in names.values())
    return [names[listing.path] for listing in found]


def _word(segment: str) -> str:
    """The word that a segment adds to a name; none for parameters, versions and `api`."""
    text = plain(re.sub(r"\{[^{}]*\}", "", segment).removesuffix(".json"))
    return "" if re.fullmatch(r"v?\d*(?:_\d+)*|api|rest", text) else text


# ---- parents ---------------------------------------------------------------------------------------------------------
def _find_parent(document: Document, draft: _Draft, by_shape: Mapping[tuple[str, ...], _Draft]) -> None:
    """The nearest list above: `/repos/{id}/issues` asks with the rows of `/repos`."""
    segments = draft.listing.segments
    starts = [
        at for at, segment in enumerate(segments) if is_slot(segment) and (at == 0 or not is_slot(segments[at - 1]))
    ]
    for at in reversed(starts):
        parent = by_shape.get(_blank(segments[:at]))
        if parent is None or parent is draft:
            continue
        end = next((place for place in range(at, len(segments)) if not is_slot(segments[place])), len(segments))
        given = {}
        for segment in segments[at:end]:
            parameter = _parameter(draft.listing, segment[1:-1])
            field_, sure = _field(document, parameter, parent)
            if field_ is None:
                continue
            given[parameter.name] = _placeholder(parent.name, field_)
            if not sure:
                draft.notes.append(f"{{{parameter.name}}} is taken to be {field_!r} of {parent.name}: a guess")
        if given:
            draft.parent = parent
            draft.slots = given
            _carry_on(draft, parent, at)
            return


def _carry_on(draft: _Draft, parent: _Draft, end: int) -> None:
    """What the parent has from its own parent comes along in the parent's rows: a resource has one parent."""
    above = parent.parent
    for mine, theirs in zip(draft.listing.segments[:end], parent.listing.segments, strict=False):
        if not is_slot(mine) or above is None or theirs[1:-1] not in parent.slots:
            continue
        field_ = _field_of(parent.slots[theirs[1:-1]], above.name)
        if field_ not in parent.include:
            parent.include.append(field_)
        draft.slots[mine[1:-1]] = _placeholder(parent.name, f"_{above.name}_{field_}")


def _placeholder(resource: str, field_: str) -> str:
    return f"{{resources.{resource}{field_[1:] if field_.startswith('$') else f'.{field_}'}}}"


def _field_of(placeholder: str, resource: str) -> str:
    rest = placeholder[1:-1].removeprefix(f"resources.{resource}")
    return rest[1:] if rest.startswith(".") else f"${rest}"


def _field(document: Document, parameter: Parameter, parent: _Draft) -> tuple[str | None, bool]:
    """The field of the parent's rows that a parameter means, and whether its name says so."""
    row, one = parent.listing.row, singular(plain(parent.name))
    name = plain(parameter.name)
    own = name.removeprefix(f"{one}_")
    short = one.rpartition("_")[2]
    own = own.removeprefix(f"{short}_") if own == name else own
    fields = {plain(field_): field_ for field_ in row.fields}
    if not fields:
        return (own if own not in (one, short) else "id"), False
    for wanted in (name, own):
        if wanted in fields:
            return _leaf(document, fields[wanted], row)
    if name.endswith(("_id", "_uuid", "_key", "_name", "_number", "_slug")) or name in (one, short):
        last = name.rpartition("_")[2]
        for wanted in (last, *_NAMING) if name not in (one, short) else _NAMING:
            if wanted in fields and _fits(document.shape(row.fields[fields[wanted]]), parameter.shape):
                return fields[wanted], wanted == last
    return None, False


def _leaf(document: Document, field_: str, row: Shape) -> tuple[str | None, bool]:
    """The field itself, or what names it where it is an object: the `owner` of a repository has a login."""
    inner = document.shape(row.fields[field_])
    if inner.is_list:
        return None, False
    if not inner.is_object:
        return spell([field_]), True
    name = next((name for name in _NAMING if name in inner.fields), None)
    return (spell([field_, name]) if name else None), False


def _fits(have: Shape, wanted: Shape) -> bool:
    return not have.kinds or not wanted.kinds or bool(have.kinds & wanted.kinds)


def _parameter(listing: Listing, name: str) -> Parameter:
    described = next((parameter for parameter in listing.of("path") if parameter.name == name), None)
    return described or Parameter(name, "path", True, Shape(), "")


# ---- the resource ----------------------------------------------------------------------------------------------------
def _key(draft: _Draft) -> tuple[str, ...]:
    """The likeliest key of the rows. One that is unique only beneath a parent takes the parent's key along."""
    row = draft.listing.row
    name = next(iter(by_likelihood(_key_fields(row), draft.name)), None)
    if name is None:
        return ()
    if draft.parent is None or plain(name).rpartition("_")[2] in GLOBAL:
        return (name,)
    above = [_field_of(text, draft.parent.name) for text in draft.slots.values()]
    draft.include.extend(field_ for field_ in above if field_ not in draft.include)
    return (*(f"_{draft.parent.name}_{field_}" for field_ in above), name)


def _key_fields(row: Shape) -> list[str]:
    """Fields that hold a text or a whole number, as far as it is told."""
    kinds = {name: schema.get("type") if isinstance(schema, Mapping) else None for name, schema in row.fields.items()}
    return [name for name, kind in kinds.items() if kind not in ("object", "array", "boolean", "number")]


def _resource(document: Document, draft: _Draft, key: tuple[str, ...]) -> Resource:
    listing = draft.listing
    params: list[Param] = []
    path = _path(draft, params)
    if listing.paging.size is not None:
        params.append(listing.paging.size)
    cursor = _cursor(listing)
    told = {*listing.paging.params, *([cursor.start_param] if cursor else [])}
    params.extend(_param(parameter) for parameter in listing.of("query") if parameter.name not in told)
    notes = [*draft.notes, *(["The API's description calls it deprecated."] if listing.deprecated else [])]
    return Resource(
        name=draft.name,
        path=path,
        summary=listing.summary,
        params=tuple(params),
        headers=tuple(_param(item) for item in listing.of("header") if item.required and not _is_ours(item.name)),
        paginator=listing.paging.paginator,
        paging_comment=listing.paging.comment,
        selector=listing.selector,
        key=key,
        include_from_parent=tuple(draft.include),
        cursor=cursor,
        notes=tuple(notes),
    )


def _is_ours(header: str) -> bool:
    return header.lower() in ("authorization", "accept", "content-type", "user-agent")


def _path(draft: _Draft, params: list[Param]) -> str:
    """The path with its placeholders; what no parent gives becomes a static parameter, of which a person knows more."""
    path = draft.listing.path.lstrip("/")
    static = []
    for name in dict.fromkeys(slots(path)):
        parameter = _parameter(draft.listing, name)
        if name in draft.slots:
            path = path.replace(f"{{{name}}}", draft.slots[name])
        elif re.fullmatch(r"[A-Za-z_][\w-]*", name, re.ASCII):
            static.append(_param(parameter))
        else:
            path = path.replace(f"{{{name}}}", CHANGE_ME)
    params.extend(static)
    return path


def _param(parameter: Parameter) -> Param:
    """A parameter with its default, example or first choice; optional ones are written as comments."""
    about = parameter.shape.about
    choices = about.get("enum") if isinstance(about.get("enum"), list) else []
    given = [about[key] for key in ("const", "default", "example") if _is_plain(about.get(key))]
    value = next(iter([*given, *filter(_is_plain, choices or [])]), None)
    if parameter.required and value is None:
        value = CHANGE_ME
    words = [" | ".join(map(str, choices or ())), _sentence(parameter.description)]
    text = "; ".join(filter(None, words))
    return Param(parameter.name, _escaped(value), text, active=parameter.required)


def _is_plain(value: Any) -> bool:
    return isinstance(value, (str, int, float)) and value == value and value not in (float("inf"), float("-inf"))


def _escaped(value: Any) -> Any:
    return escape(value) if isinstance(value, str) else value


def _sentence(text: str) -> str:
    return re.split(r"(?<=[.!?])\s|\n", text.strip(), maxsplit=1)[0]


def _cursor(listing: Listing) -> CursorHint | None:
    """A cursor that the API seems to know: a parameter such as `since`, and a field such as `updated_at`."""
    fields = {plain(name): name for name in listing.row.fields}
    for parameter in listing.of("query"):
        name = re.sub(r"^filters?_", "", plain(parameter.name))
        if name == "since_id" and "id" in fields:
            return CursorHint(fields["id"], 0, parameter.name)
        if not _SINCE.fullmatch(name) or parameter.shape.kinds & {"integer", "number", "array", "object"}:
            continue
        wanted = _CREATED if name.startswith("created") else (*_UPDATED, *(_CREATED if name == "since" else ()))
        found = next((fields[field_] for field_ in wanted if field_ in fields), None)
        if found:
            return CursorHint(spell([found]), "2024-01-01T00:00:00Z", parameter.name)
    return None
