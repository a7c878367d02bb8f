"""``/api/v1/docs``: the OpenAPI document as a page that needs no script and nothing from elsewhere."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse

from capriccio.rendering.markup import escape

router = APIRouter(prefix="/api/v1")

Schema = Mapping[str, Any]


@router.get("/docs", include_in_schema=False)
async def described(request: Request) -> HTMLResponse:
    """The addresses, what they take and what they answer."""
    document = request.app.openapi()
    schemas = document["components"]["schemas"]
    operations = [(path, method, operation) for path, methods in document["paths"].items()
                  for method, operation in methods.items()]  # fmt: skip
    contents = "".join(
        f'<li><a href="#{_anchor(path, method)}"><code>{method.upper()} {escape(path)}</code></a></li>'
        for path, method, _ in operations
    )
    parts = "".join(_operation(schemas, *operation) for operation in operations)
    return HTMLResponse(
        '<!doctype html><html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">'
        '<title>Capriccio API</title><link rel="icon" href="/favicon.ico" type="image/svg+xml">'
        '<link rel="stylesheet" href="/static/studio.css">'
        '<main class="reading"><p><a href="/studio">Studio</a></p><h1>Capriccio API</h1>'
        f"<p>{escape(document['info']['description'])} The same as "
        '<a href="/api/v1/openapi.json">OpenAPI document</a>. Errors are problem documents (RFC 9457) '
        f"whose <code>detail</code> says what was wrong.</p><ul>{contents}</ul>{parts}</main></html>"
    )


def _operation(schemas: Schema, path: str, method: str, operation: Schema) -> str:
    rows = [
        (one["name"], one.get("schema", {}), one.get("description", ""), bool(one.get("required")))
        for one in operation.get("parameters", ())
    ]
    body = operation.get("requestBody", {}).get("content", {})
    answer: Schema = next((content for status, found in operation["responses"].items() if status.startswith("2")
                   for content in [found.get("content", {})] if content), {})  # fmt: skip
    statuses = ", ".join(sorted(operation["responses"]))
    return (
        f'<section id="{_anchor(path, method)}"><h2><code>{method.upper()} {escape(path)}</code></h2>'
        f"<p>{escape(operation.get('description', ''))}</p>"
        + (_table("Parameter", rows) if rows else "")
        + _content(schemas, "Body", body)
        + _content(schemas, "Answer", answer)
        + f'<p class="quiet">Answers: {escape(statuses)}</p></section>'
    )


def _content(schemas: Schema, title: str, content: Schema) -> str:
    """Return what a body or an answer holds: the fields of JSON, the types of everything else."""
    schema = content.get("application/json", {}).get("schema", {})
    named = _resolved(schemas, schema)
    if "properties" in named:
        needed = named.get("required", ())
        fields = [(name, one, one.get("description", ""), title == "Body" and name in needed)
                  for name, one in named["properties"].items()]  # fmt: skip
        return _table(f"{title}, JSON", fields)
    kinds = ", ".join(kind for kind in content if kind != "application/problem+json")
    return f"<p>{title}: <code>{escape(kinds)}</code></p>" if kinds and kinds != "application/json" else ""


def _table(title: str, rows: list[tuple[str, Schema, str, bool]]) -> str:
    lines = "".join(
        f"<tr><td><code>{escape(name)}</code>{' (needed)' if needed else ''}<td>{escape(_kind(schema))}"
        f"<td>{escape(about)}</tr>"
        for name, schema, about, needed in rows
    )
    return f"<table><thead><tr><th>{title}<th>Kind<th>Meaning</tr></thead>{lines}</table>"


def _kind(schema: Schema) -> str:
    """Return a type in a few words: "integer or null", "list of string", "coarse | fine"."""
    if "$ref" in schema:
        return str(schema["$ref"].rpartition("/")[2])
    if "anyOf" in schema:
        return " or ".join(dict.fromkeys(filter(None, map(_kind, schema["anyOf"]))))
    if schema.get("enum"):
        return " | ".join(map(str, schema["enum"]))
    if schema.get("type") == "array":
        return f"list of {_kind(schema.get('items', {})) or 'values'}"
    return str(schema.get("type", schema.get("const", "")))


def _resolved(schemas: Schema, schema: Schema) -> Schema:
    found: Schema = schemas.get(str(schema.get("$ref", "")).rpartition("/")[2], schema)
    return found


def _anchor(path: str, method: str) -> str:
    words = "".join(letter if letter.isalnum() else "-" for letter in path).strip("-")
    return f"{method}-{words or 'root'}"
