"""`entrepot use`: how a client uses a distribution, in text to copy."""

import sys

from entrepot.core.v1 import distribution_service_pb2 as messages
from entrepot_cli.arguments import Parser, add_output
from entrepot_cli.outcome import Failure, Status
from entrepot_cli.output import Column
from entrepot_cli.server.name import resource_name
from entrepot_cli.session import session

SERVICE = messages.DESCRIPTOR.services_by_name["DistributionService"]


def run(words: list[str]) -> int:
    """Print the guides."""
    parser = Parser("use", "Prints how clients use a distribution.")
    parser.add_argument("distribution", metavar="PLUGIN/NAME")
    parser.add_argument("--client", default="", metavar="CLIENT", help="only for curl, say")
    add_output(parser)
    options = parser.parse_args(words)
    request = messages.ListGuidesRequest(
        parent=resource_name(options.distribution, "distributions"), client=options.client
    )
    with session(options) as work:
        guides = work.connection.call(SERVICE, "ListGuides", request).guides
        if not guides and options.client:
            raise Failure(
                f"There is no guide for {options.client}.",
                status=Status.NOT_FOUND,
                suggestion=f"entrepot use {options.distribution}",
            )
        if not guides and work.output.form == "table":
            what = f"The plugin of {options.distribution} has no guides for clients."
            get = f"entrepot distribution get {options.distribution}"
            print(f"{what} Where it is served says:\n  {get}", file=sys.stderr)
        elif work.output.form == "table":
            print("\n\n".join(f"# {guide.title}\n{guide.text.rstrip()}" for guide in guides))
        else:
            columns = [Column("CLIENT", lambda item: item["client"])]
            work.output.items((work.json(guide) for guide in guides), columns)
    return 0
