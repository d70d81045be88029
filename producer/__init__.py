"""Exchange and files into the stream.

In: WebSocket messages, REST pages, archive files. Out: micro-batches of judged trades on the Redis stream.
Nothing that was read is lost: what Redis can't take waits in an fsynced spool, and what a killed producer still held
is fetched again by REST, from the last id that the stream or the table holds. Anything may be sent twice; a trade's
identity makes that harmless.
"""
