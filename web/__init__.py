"""The web: REST, server-sent events and the dashboard's files, over PostgreSQL and Redis.

In: HTTP. Out: rows that PostgreSQL already wrote as JSON, events of the stream `live`, and for what clients post:
stream entries and task rows. Nothing is kept here, so a killed web loses nothing; a request that got no answer may be
sent again, for ticks are known by identity and a task by its `Idempotency-Key`.
"""
