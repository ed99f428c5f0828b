"""JSON bodies read strictly into ``msgspec`` structs: every field that breaks a rule is named, and the same structs give the JSON schema.

orjson parses, since it reads arrays of numbers half again as fast, and msgspec checks (``docs/adr/0015-libraries.md``).

Belongs here: bytes -> struct, or a problem that names the fields; schemas for OpenAPI. Does not belong here: what a request means.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Iterator, Mapping
from itertools import islice
from typing import Any, Final, NoReturn, TypeVar

import msgspec
import orjson

from lab_assets.service.problems import FieldProblem, ProblemError

S = TypeVar("S", bound=msgspec.Struct)

Words = Callable[[str, object], str | None]
"""What a field needs, in words, by its path and the value given; ``None`` for msgspec's own words."""

MAX_PROBLEMS: Final = 50
_KEY: Final = re.compile(rb'"\s*:')
_PATH_AT_END: Final = re.compile(r" - at `[^`]*`$")


def read_body(body: bytes, kind: type[S], *, refused: str, words: Words) -> S:
    """Read a JSON object.

    Args:
        body: Raw bytes.
        kind: Struct it must fit, unknown fields forbidden.
        refused: What was not done, to begin the answer with, such as ``nothing was scored``.
        words: What a field needs.

    Raises:
        ProblemError: 400 not strict JSON or a repeated key, 422 not an object, or with every field that breaks a rule.
    """
    try:
        document = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        _refuse_text(body, str(error), kind, refused=refused, words=words)
    if not isinstance(document, dict):
        raise ProblemError(422, "send a JSON object")
    keys = _count_keys(document)
    if body.count(b":") != keys and len(_KEY.findall(body)) != keys:  # a colon for each key: the usual case, and the quick look
        _refuse_repeated_keys(body)
    try:
        return msgspec.convert(document, kind)
    except msgspec.ValidationError as error:
        found = list(islice(_problems(document, kind, words, ""), MAX_PROBLEMS))
        raise refusal(refused, found or [FieldProblem("body", _plain(error))]) from None


def refusal(refused: str, problems: list[FieldProblem]) -> ProblemError:
    """Return the answer to a request with fields that break a rule."""
    shown = tuple(problems[:MAX_PROBLEMS])
    return ProblemError(422, f"{refused}: " + "; ".join(f"{one.field} {one.problem}" for one in shown[:5]), shown)


def schema_of(kind: type[msgspec.Struct]) -> dict[str, Any]:
    """Return the JSON schema of a struct with nothing referred to, as OpenAPI embeds it."""
    schema = msgspec.json.schema(kind)
    parts = schema.pop("$defs")

    def whole(node: Any) -> Any:
        if isinstance(node, list):
            return [whole(one) for one in node]
        if not isinstance(node, dict):
            return node
        if "$ref" in node:
            return whole(parts[node["$ref"].rpartition("/")[2]])
        return {name: whole(value) for name, value in node.items() if name != "title"}

    return whole(schema)


def body_schema(kind: type[msgspec.Struct]) -> dict[str, Any]:
    """Return what a route adds to OpenAPI so that its body is described."""
    return {"requestBody": {"required": True, "content": {"application/json": {"schema": schema_of(kind)}}}}


def _problems(document: Mapping[str, object], kind: type[msgspec.Struct], words: Words, prefix: str) -> Iterator[FieldProblem]:
    """Check each field by itself; the whole is only known to break some rule."""
    fields = {field.encode_name: field for field in msgspec.structs.fields(kind)}
    for name in document:
        if name not in fields:
            yield FieldProblem(prefix + printable(name), "unknown feature" if prefix == "features." else "unknown field")
    for name, field in fields.items():
        if name not in document:
            if field.required:
                yield FieldProblem(prefix + name, words(prefix + name, None) or "is required")
            continue
        value = document[name]
        inner = _struct_in(field.type)
        if inner is not None and isinstance(value, dict) and value:
            yield from _problems(value, inner, words, f"{prefix}{name}.")
            continue
        if isinstance(value, str) and not value.isprintable():
            yield FieldProblem(prefix + name, words(prefix + name, value) or "needs printable characters")
            continue
        try:
            msgspec.convert(value, field.type)
        except msgspec.ValidationError as error:
            own = "is required" if value is None and field.required else None
            yield FieldProblem(prefix + name, words(prefix + name, value) or own or _plain(error))


def _struct_in(annotation: Any) -> type[msgspec.Struct] | None:
    """Return the struct among the types a field may have."""
    kinds = (annotation, *getattr(annotation, "__args__", ()))
    return next((one for one in kinds if isinstance(one, type) and issubclass(one, msgspec.Struct)), None)


def _plain(error: msgspec.ValidationError) -> str:
    return _PATH_AT_END.sub("", str(error)).replace("`", "").replace("Expected", "needs", 1).replace("Object ", "", 1)


def _refuse_text(body: bytes, reason: str, kind: type[msgspec.Struct], *, refused: str, words: Words) -> NoReturn:
    """Refuse text that is not strict JSON; where only a number is not finite or a text not whole, the field is named.

    Raises:
        ProblemError: always.
    """
    try:
        document = json.loads(body)
    except (ValueError, RecursionError):
        raise ProblemError(400, f"the body is not JSON: {reason.partition(':')[0]}") from None
    if not isinstance(document, dict):
        raise ProblemError(422, "send a JSON object")
    try:
        infinite = [
            FieldProblem(path, "needs finite numbers" if isinstance(value, list) else "needs a finite number")
            for path, value in _not_finite(document, "")
        ]
        broken = infinite or list(islice(_problems(document, kind, words, ""), MAX_PROBLEMS))
    except RecursionError:
        broken = []
    if broken:
        raise refusal(refused, broken)
    raise ProblemError(400, "the body is not strict JSON")


def _not_finite(value: object, path: str) -> Iterator[tuple[str, object]]:
    """Yield the path of each number, or list of numbers, that a double cannot hold."""
    if isinstance(value, dict):
        for name, one in value.items():
            yield from _not_finite(one, f"{path}.{printable(name)}" if path else printable(name))
    elif isinstance(value, list):
        if any(not is_finite(one) for one in value if isinstance(one, int | float)):
            yield path, value
    elif isinstance(value, int | float) and not is_finite(value):
        yield path, value


def is_finite(value: float) -> bool:
    """Return whether a double can hold a number; a whole number may be too large for one."""
    try:
        return math.isfinite(value)
    except OverflowError:
        return False


def _count_keys(document: dict[str, object]) -> int:
    """Count the keys of an object and of the objects in it; no request is nested deeper."""
    return len(document) + sum([len(value) for value in document.values() if value.__class__ is dict])  # type: ignore[arg-type]


def _refuse_repeated_keys(body: bytes) -> None:
    """Parse once more, slowly, and refuse a key that an object holds twice.

    Raises:
        ProblemError: 400.
    """

    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        keys = [key for key, _ in pairs]
        if len(set(keys)) != len(keys):
            raise ProblemError(400, "the body repeats a key")
        return dict(pairs)

    try:
        json.loads(body, object_pairs_hook=unique)
    except (ValueError, RecursionError):
        raise ProblemError(400, "the body is not JSON") from None


def printable(name: str) -> str:
    """Return a field's name as an answer may repeat it."""
    return "".join(letter if letter.isprintable() else "?" for letter in name[:80])
