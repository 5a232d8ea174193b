"""`entrepot status`: how the server and its plugins are."""

from entrepot.core.v1 import status_service_pb2
from entrepot_cli.arguments import Parser, add_output
from entrepot_cli.output import Json, Output, name_of, size
from entrepot_cli.session import connected
from entrepot_rpc.encoder import Encoder

SERVICE = status_service_pb2.DESCRIPTOR.services_by_name["StatusService"]


def run(words: list[str]) -> int:
    """Print the status."""
    parser = Parser("status", "Says how the server and its plugins are.")
    add_output(parser)
    options = parser.parse_args(words)
    with connected(options) as connection:
        request = status_service_pb2.GetStatusRequest()
        status = Encoder().message(connection.call(SERVICE, "GetStatus", request))
    output = Output(options)
    if output.form == "table":
        print("\n".join(_in_words(status)))
    else:
        output.item({"name": "status"} if output.form == "name" else status)
    return 0


def _in_words(status: Json) -> list[str]:
    lines = [
        f"Entrepot {status['version']} on PostgreSQL {status['database_version']}",
        f"content    {status['content_url']}",
        f"disk       {size(status['blob_free_bytes'])} free",
        f"tasks      {status['running_tasks']} running, {status['waiting_tasks']} waiting",
    ]
    for one in status["dispatchers"]:
        lines += [f"dispatcher {one['name']}: {one['running_attempts']} running"]
    for one in status["plugins"]:
        version = one.get("declaration", {}).get("version", "")
        # Why one is down, the problems say.
        words = (name_of(one), version, one.get("health", ""))
        lines += [f"plugin     {' '.join(filter(None, words))}"]
    lines += [f"problem    {text}" for text in status["problems"]] or ["no problems"]
    return lines
