"""`entrepot token`: who may call the API besides the administrator."""

from entrepot.core.v1 import token_service_pb2 as messages
from entrepot_cli.arguments import (
    Parser,
    add_limit,
    add_output,
    add_request_id,
    add_yes,
    choose,
    confirm,
)
from entrepot_cli.output import Column, moment, name_of
from entrepot_cli.server.name import full_name
from entrepot_cli.session import session

SERVICE = messages.DESCRIPTOR.services_by_name["TokenService"]
VERBS = {
    "create": "make one, and show its secret, once: create NAME",
    "list": "list them, those that were revoked as well",
    "revoke": "take one its rights, at once and for ever",
}


def run(words: list[str]) -> int:
    """Do one of the verbs."""
    verb, words = choose("token", VERBS, words)
    match verb:
        case "create":
            return _create(words)
        case "list":
            return _list(words)
        case _:
            return _revoke(words)


def _create(words: list[str]) -> int:
    parser = Parser("token create", "Makes a token. Its secret is shown once, and kept nowhere.")
    parser.add_argument("name", metavar="NAME")
    add_request_id(parser, "token, with its secret")
    add_output(parser)
    options = parser.parse_args(words)
    token = messages.Token(name=full_name(options.name, "tokens"))
    with session(options) as work:
        request = messages.CreateTokenRequest(token=token, request_id=options.request_id)
        response = work.connection.call(SERVICE, "CreateToken", request)
        work.output.item(work.json(response.token))
    return 0


def _list(words: list[str]) -> int:
    parser = Parser("token list", "Lists the tokens, without their secrets.")
    add_limit(parser)
    add_output(parser)
    options = parser.parse_args(words)
    with session(options) as work:
        request = messages.ListTokensRequest()
        found = work.connection.pages(SERVICE, "ListTokens", request, options.limit)
        columns = [
            Column("NAME", name_of),
            Column("CREATED", lambda item: moment(item.get("create_time"))),
            Column("REVOKED", lambda item: moment(item.get("revoke_time"))),
        ]
        work.output.items((work.json(one) for one in found), columns)
    return 0


def _revoke(words: list[str]) -> int:
    parser = Parser("token revoke", "Takes a token its rights. Its tasks that wait or run fail.")
    parser.add_argument("name", metavar="NAME")
    add_yes(parser)
    add_output(parser)
    options = parser.parse_args(words)
    confirm(options.name, options)
    request = messages.DeleteTokenRequest(name=full_name(options.name, "tokens"))
    with session(options) as work:
        work.connection.call(SERVICE, "DeleteToken", request)
    return 0
