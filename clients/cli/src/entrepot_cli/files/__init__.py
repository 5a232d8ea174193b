"""Files of this machine on their way to the server: found, hashed, sent, and shown meanwhile."""
