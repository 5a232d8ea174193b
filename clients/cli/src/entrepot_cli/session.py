"""What a verb works with while it talks to the server: the connection, its types, the output."""

import contextlib
from argparse import Namespace
from collections.abc import Iterator
from dataclasses import dataclass

from google.protobuf.message import Message

from entrepot_cli.output import Json, Output
from entrepot_cli.server.connection import Connection
from entrepot_cli.server.declaration import Declarations, load
from entrepot_cli.settings import Settings
from entrepot_rpc.encoder import Encoder


@dataclass(frozen=True, slots=True)
class Session:
    """One command's work with one server."""

    connection: Connection
    declarations: Declarations
    output: Output

    def json(self, message: Message) -> Json:
        """A message as the REST API shows it."""
        return Encoder(self.declarations.message_class).message(message)


@contextlib.contextmanager
def session(options: Namespace) -> Iterator[Session]:
    """Connect, learn what the plugins declare, and hang up at the end."""
    with connected(options) as connection:
        yield Session(connection, load(connection), Output(options))


@contextlib.contextmanager
def connected(options: Namespace | None = None) -> Iterator[Connection]:
    """Connect, and hang up at the end."""
    is_verbose = options is not None and options.verbose
    connection = Connection(Settings.from_environment(), is_verbose=is_verbose)
    try:
        yield connection
    finally:
        connection.close()
