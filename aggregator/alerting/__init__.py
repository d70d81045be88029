"""Alerts: rules as state machines over bars, pair rows, tests, holes in the ids and the stream's clock."""
