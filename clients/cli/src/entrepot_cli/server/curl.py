"""What a call would be over REST, as a curl command with the token left out."""

import json
import re
import shlex
from typing import Any
from urllib.parse import quote, urlencode

from google.api import annotations_pb2
from google.protobuf.descriptor import MethodDescriptor
from google.protobuf.message import Message

from entrepot_cli.server.declaration import Declarations
from entrepot_cli.settings import Settings
from entrepot_rpc.encoder import Encoder

_VERBS = ("get", "post", "patch", "put", "delete")
_PLACE = re.compile(r"\{([a-z_.]+)(?:=[^}]*)?\}")


def curl_of(
    rpc: MethodDescriptor,
    request: Message,
    settings: Settings,
    declarations: Declarations | None,
) -> str:
    """The command; for an rpc without a REST form, a remark."""
    rule = rpc.GetOptions().Extensions[annotations_pb2.http]
    verb = next((verb for verb in _VERBS if getattr(rule, verb)), "")
    if not verb:
        return f"# {rpc.full_name} has no REST form"
    resolve = declarations.message_class if declarations else lambda _url: None
    encoder = Encoder(resolve, hidden="…")
    fields = _set_ones(encoder.message(request))
    # Over REST the names in the body are the mask.
    fields.pop("update_mask", None)
    path = _PLACE.sub(lambda place: _take(fields, place[1]), getattr(rule, verb))
    if rpc.name == "CreateTask":
        # A task is created in the collection of its type.
        path += f"/{_task_type(request, declarations)}"
        body, query = fields.pop("parameters", {}), fields
    elif rule.body == "*":
        body, query = fields, {}
    else:
        body, query = fields.pop(rule.body, None), fields
    words = ["curl", "--fail-with-body", "-H", "Authorization: Bearer $ENTREPOT_TOKEN"]
    if verb != "get":
        words += ["-X", verb.upper()]
    if body:
        words += ["-H", "Content-Type: application/json", "-d", json.dumps(body)]
    asked = f"?{urlencode(query, doseq=True)}" if query else ""
    words.append(f"http://{settings.http}{quote(path)}/{asked}")
    # In double quotes, so that the shell fills in the token.
    return " ".join(_quoted(word) for word in words)


def _task_type(request: Any, declarations: Declarations | None) -> str:  # noqa: ANN401
    return declarations.task_type_of(request.parameters.type_url) if declarations else "TYPE"


def _set_ones(fields: dict[str, Any]) -> dict[str, Any]:
    """What was said; the rest would be the same without it."""
    inner = {
        key: _set_ones(value) if isinstance(value, dict) else value
        for key, value in fields.items()
    }
    return {key: value for key, value in inner.items() if value not in ("", 0, [], {}, False)}


def _take(fields: dict[str, Any], place: str) -> str:
    first, _, rest = place.partition(".")
    if rest:
        return _take(fields.get(first, {}), rest)
    return str(fields.pop(first, ""))


def _quoted(word: str) -> str:
    return f'"{word}"' if "$ENTREPOT_TOKEN" in word else shlex.quote(word)
