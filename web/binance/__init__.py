"""Binance's spot market data routes over what is stored here: an existing Binance client reads GEMS with another address.

    routes (web/routes/binance.py) ─► params ─► rows (SQL) ─► shapes (pure)

Facts of the API: https://developers.binance.com/docs/binance-spot-api-docs/rest-api/market-data-endpoints
"""
