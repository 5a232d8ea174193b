"""The server, as the command line sees it: calls, errors, declarations, names."""
