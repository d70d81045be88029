"""Other people's clients, as they come from their registry, against a running web."""
