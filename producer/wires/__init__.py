"""Connections, a library each; `producer.wire` says what they have in common."""
