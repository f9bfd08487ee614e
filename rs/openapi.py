"""The API's own description: OpenAPI 3.1, from the route table and the types of the answers.

In: `endpoints.ENDPOINTS`, whose answers are typed dictionaries. Out: the document served at
/openapi.json. Nothing in it is written twice: texts are docstrings and `Annotated` notes, schemas
are the types that mypy holds the code to.
"""

from __future__ import annotations

import types
from typing import (
    TYPE_CHECKING,
    Annotated,
    Any,
    Literal,
    NotRequired,
    Union,
    get_args,
    get_origin,
    get_type_hints,
    is_typeddict,
)

from rs import __version__
from rs.show_types import Error

if TYPE_CHECKING:
    from collections.abc import Iterable

    from rs.endpoints import Endpoint, Param

Schema = dict[str, Any]
_SIMPLE: dict[Any, str] = {
    str: "string",
    int: "integer",
    float: "number",
    bool: "boolean",
    type(None): "null",
}


def schema_of(kind: Any, components: dict[str, Schema]) -> Schema:
    """Return the JSON schema of a type; typed dictionaries go to `components`, by name.

    TypeError for a type that has no schema.
    """
    if kind is Any:
        return {}
    if kind in _SIMPLE:
        return {"type": _SIMPLE[kind]}
    if is_typeddict(kind):
        _describe(kind, components)
        return {"$ref": f"#/components/schemas/{kind.__name__}"}
    origin, args = get_origin(kind), get_args(kind)
    if origin is Annotated:
        return {**schema_of(args[0], components), "description": args[1]}
    if origin is NotRequired:
        return schema_of(args[0], components)
    if origin is Literal:
        return {"type": "string", "enum": list(args)}
    if origin is list:
        return {"type": "array", "items": schema_of(args[0], components)}
    if origin is dict:
        return {"type": "object", "additionalProperties": schema_of(args[1], components)}
    if origin in {Union, types.UnionType}:
        return _one_of([schema_of(arg, components) for arg in args])
    raise TypeError(f"no schema for {kind!r}")


def _one_of(choices: list[Schema]) -> Schema:
    if all(set(choice) == {"type"} for choice in choices):
        return {"type": [choice["type"] for choice in choices]}
    if all("enum" in choice for choice in choices):
        return {"type": "string", "enum": [value for c in choices for value in c["enum"]]}
    return {"anyOf": choices}


def _describe(kind: Any, components: dict[str, Schema]) -> None:
    if kind.__name__ in components:
        return
    schema: Schema = {"type": "object"}
    components[kind.__name__] = schema  # before its fields, which may lead back to it
    hints = get_type_hints(kind, include_extras=True)
    schema["description"] = (kind.__doc__ or "").strip()
    schema["properties"] = {name: schema_of(hint, components) for name, hint in hints.items()}
    if kind.__total__:
        required = [n for n, hint in hints.items() if get_origin(hint) is not NotRequired]
        schema["required"] = required


def _parameter(param: Param) -> Schema:
    return {
        "name": param.name,
        "in": "path" if param.in_path else "query",
        "required": param.in_path,
        "description": param.text,
        "schema": param.schema,
    }


def _operation(endpoint: Endpoint, components: dict[str, Schema]) -> Schema:
    summary, _, description = endpoint.text.partition("\n")
    answer = schema_of(endpoint.answer, components)
    content: dict[str, Schema] = {endpoint.content_type: {"schema": answer}}
    if endpoint.lines is not None:
        content["application/x-ndjson"] = {"schema": schema_of(endpoint.lines, components)}
    failure = {"application/json": {"schema": schema_of(Error, components)}}
    operation: Schema = {
        "summary": summary.strip(),
        "operationId": endpoint.handler.__name__.strip("_"),
        "parameters": [_parameter(param) for param in endpoint.params],
        "responses": {
            "200": {"description": "The answer.", "content": content},
            **{
                str(status): {"description": text, "content": failure}
                for status, text in sorted(endpoint.failures.items())
            },
        },
    }
    if description.strip():
        operation["description"] = " ".join(description.split())
    if endpoint.body is not None:
        operation["requestBody"] = {
            "required": False,
            "content": {"application/json": {"schema": schema_of(endpoint.body, components)}},
        }
    return operation


def document(endpoints: Iterable[Endpoint]) -> Schema:
    """Return the OpenAPI document of these endpoints."""
    components: dict[str, Schema] = {}
    paths: dict[str, Schema] = {}
    for endpoint in endpoints:
        operations = paths.setdefault(endpoint.path, {})
        operations[endpoint.method.lower()] = _operation(endpoint, components)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "rs",
            "version": __version__,
            "description": "A running BGP route server: neighbors, routes, metrics.",
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "paths": paths,
        "components": {"schemas": components},
    }
