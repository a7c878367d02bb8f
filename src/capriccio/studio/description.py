"""``/api/v1/docs``: the OpenAPI document as a page that needs no script and nothing from elsewhere."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse

from capriccio.rendering.markup import escape

router = APIRouter(prefix="/api/v1")


@router.get("/docs", include_in_schema=False)
async def described(request: Request) -> HTMLResponse:
    """The addresses, what they take and what they answer."""
    document = request.app.openapi()
    parts = [_operation(path, method, operation) for path, methods in document["paths"].items()
             for method, operation in methods.items()]  # fmt: skip
    return HTMLResponse(
        '<!doctype html><html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">'
        '<title>Capriccio API</title><link rel="stylesheet" href="/static/studio.css">'
        '<main class="reading"><p><a href="/studio">Studio</a></p><h1>Capriccio API</h1>'
        f"<p>{escape(document['info']['description'])} The same as "
        '<a href="/api/v1/openapi.json">OpenAPI document</a>. Errors are problem documents (RFC 9457) '
        "whose <code>detail</code> says what was wrong.</p>" + "".join(parts) + "</main></html>"
    )


def _operation(path: str, method: str, operation: Mapping[str, Any]) -> str:
    rows = "".join(_parameter(parameter) for parameter in operation.get("parameters", ()))
    table = f"<table><thead><tr><th>Parameter<th>Kind<th>Meaning</tr></thead>{rows}</table>" if rows else ""
    statuses = ", ".join(sorted(operation.get("responses", {})))
    about = escape(operation.get("description", ""))
    return (f"<section><h2><code>{method.upper()} {escape(path)}</code></h2><p>{about}</p>{table}"
            f'<p class="quiet">Answers: {escape(statuses)}</p></section>')  # fmt: skip


def _parameter(parameter: Mapping[str, Any]) -> str:
    schema = parameter.get("schema", {})
    choices = [schema, *schema.get("anyOf", ())]
    kinds = [str(choice.get("type") or " | ".join(map(str, choice.get("enum", ())))) for choice in choices]
    kind = " or ".join(kind for kind in dict.fromkeys(kinds) if kind)
    needed = " (needed)" if parameter.get("required") else ""
    return (f"<tr><td><code>{escape(parameter['name'])}</code>{needed}<td>{escape(kind)}"
            f"<td>{escape(parameter.get('description', ''))}</tr>")  # fmt: skip
