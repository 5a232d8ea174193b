"""What the paths of the OpenAPI document are put together from."""

from __future__ import annotations

from typing import Any

from entrepot_rpc.comment import first_sentence

Json = dict[str, Any]

PROBLEM: Json = {
    "type": "object",
    "description": "What went wrong (RFC 9457). `type` leads to a page with cause and cure.",
    "required": ["type", "title", "status", "detail", "code", "reason", "domain"],
    "properties": {
        "type": {"type": "string", "format": "uri-reference"},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "detail": {"type": "string"},
        "instance": {"type": "string", "format": "uri-reference"},
        "code": {"type": "string", "description": "Name of the google.rpc.Code."},
        "reason": {"type": "string", "description": "Stable name for programs."},
        "domain": {"type": "string", "description": "Whose reason it is."},
        "metadata": {"type": "object", "additionalProperties": {"type": "string"}},
        "errors": {
            "type": "array",
            "items": {
                "type": "object",
                "required": ["pointer", "reason", "detail"],
                "properties": {
                    "pointer": {"type": "string", "description": "JSON pointer to the field."},
                    "reason": {"type": "string"},
                    "detail": {"type": "string"},
                    "in": {"type": "string", "enum": ["query", "path", "header"]},
                },
            },
        },
        "preconditions": {
            "type": "array",
            "items": {
                "type": "object",
                "properties": {
                    "type": {"type": "string"},
                    "subject": {"type": "string"},
                    "detail": {"type": "string"},
                },
            },
        },
        "request_id": {"type": "string"},
    },
}

PARAMETERS: dict[str, Json] = {
    "wait": {
        "name": "wait",
        "in": "query",
        "description": "Wait this long, at most 10m, for the task to end.",
        "schema": {"type": "string", "examples": ["30s"]},
    },
    "dry_run": {
        "name": "dry_run",
        "in": "query",
        "description": "Run everything, report what would change, change nothing.",
        "schema": {"type": "boolean"},
    },
    "validate_only": {
        "name": "validate_only",
        "in": "query",
        "description": "Check the parameters only; nothing is stored.",
        "schema": {"type": "boolean"},
    },
    "priority": {
        "name": "priority",
        "in": "query",
        "description": "How urgent the task is; unset: what its type has.",
        "schema": {"type": "string", "enum": ["interactive", "normal", "background"]},
    },
    "absorb": {
        "name": "absorb",
        "in": "query",
        "description": "Answer 200 with a task that waits and would do the same, if there is one.",
        "schema": {"type": "boolean"},
    },
    "on_failure": {
        "name": "on_failure",
        "in": "query",
        "description": "What becomes of the task if units fail; strict, if nothing is said.",
        "schema": {"type": "string", "enum": ["strict", "keep_going"]},
    },
    "only_failures": {
        "name": "only_failures",
        "in": "query",
        "description": "Do only what failed in the earlier task.",
        "schema": {"type": "boolean"},
    },
    "idempotency_key": {
        "name": "Idempotency-Key",
        "in": "header",
        "description": "For 7 days the same key returns the same task.",
        "schema": {"type": "string", "maxLength": 128},
    },
    "if_match": {
        "name": "If-Match",
        "in": "header",
        "description": "Change only what has this entity tag.",
        "schema": {"type": "string"},
    },
    "last_event_id": {
        "name": "Last-Event-ID",
        "in": "header",
        "description": "Send only what happened after this event.",
        "schema": {"type": "integer", "format": "int64"},
    },
}


def operation_of(
    operation_id: str, tag: str, description: str, parameters: list[Json], responses: Json
) -> Json:
    """A method of a path; the first sentence of its description is its summary."""
    operation: Json = {"operationId": operation_id, "tags": [tag]}
    if description:
        operation["summary"] = first_sentence(description)
        operation["description"] = description
    if parameters:
        operation["parameters"] = parameters
    operation["responses"] = responses
    return operation


def path_parameter(name: str) -> Json:
    """A part of a path that the client gives."""
    return {"name": name, "in": "path", "required": True, "schema": {"type": "string"}}


def body_of(schema: Json, *, required: bool = True) -> Json:
    """A body: JSON, or a form."""
    return {
        "required": required,
        "content": {
            "application/json": {"schema": schema},
            "application/x-www-form-urlencoded": {"schema": schema},
        },
    }


def page_of(schema: Json) -> Json:
    """A page of a list."""
    return {
        "type": "object",
        "required": ["results", "next_page_token"],
        "properties": {
            "results": {"type": "array", "items": schema},
            "next_page_token": {"type": "string"},
        },
    }


def answers_of(status: str, schema: Json, *, location: bool = False) -> Json:
    """What comes back, by status."""
    answer: Json = {
        "description": "Created." if status == "201" else "OK.",
        "content": {"application/json": {"schema": schema}},
    }
    if location:
        answer["headers"] = {
            "Location": {
                "description": "Address of what was created.",
                "schema": {"type": "string", "format": "uri-reference"},
            }
        }
    return {status: answer, "default": problem_answer()}


def problem_answer() -> Json:
    """What comes back of every failure."""
    return {"$ref": "#/components/responses/Problem"}
