"""Where in a scope the template of the path is, which is the same for all requests of a kind."""

ROUTE = "entrepot.route"
