"""The simulated exchange: a WebSocket and REST server that speaks Binance's spot protocol.

In: nothing, or a recorded archive file. Out: trades as `@trade` and `@aggTrade` frames, and the last day's trades by REST.
It plays cointegrated random walks (`market`, `history`, `walk`) or a file (`archive`, `play`); a trade is on disk before it is
sent, so ids, prices and history go on after a kill -9. What is lost: nothing that a client could not fetch again by id.
What it does wrong, it does on request only (`faults`, by POST /sim/faults).
"""
