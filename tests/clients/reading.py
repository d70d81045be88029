"""Run in the clients' venv: `reading.py ADDRESS CLIENT`; prints what the client has read, as JSON."""

import json
import sys

SYMBOL, MARKET = "BTCUSDT", "BTC/USDT"


def with_python_binance(address):
    from binance.client import Client

    client = Client(ping=False)
    client.API_URL = f"{address}/api"
    return {
        "ping": client.ping(),
        "klines": client.get_klines(symbol=SYMBOL, interval="1m", limit=1000),
        "history": [list(row) for row in client.get_historical_klines(SYMBOL, "1s", "2026-11-23T07:00:00Z", limit=1000)],
        "trades": client.get_recent_trades(symbol=SYMBOL),
        "by_id": client.get_historical_trades(symbol=SYMBOL, fromId=1, limit=3),
        "aggregates": [row["a"] for row in client.aggregate_trade_iter(SYMBOL, last_id=2)],
        "price": client.get_symbol_ticker(symbol=SYMBOL),
        "day": client.get_ticker(symbol=SYMBOL),
        "symbol": client.get_symbol_info(SYMBOL)["baseAsset"],
    }


def with_ccxt(address):
    import ccxt

    options = {"fetchMarkets": {"types": ["spot"]}, "fetchCurrencies": False, "defaultType": "spot"}
    exchange = ccxt.binance({"options": options})
    exchange.urls["api"]["public"] = f"{address}/api/v3"
    return {
        "markets": sorted(exchange.load_markets()),
        "candles": exchange.fetch_ohlcv(MARKET, "1m", limit=1000),
        "trades": exchange.fetch_trades(MARKET),
        "ticker": exchange.fetch_ticker(MARKET),
    }


if __name__ == "__main__":
    read = {"python-binance": with_python_binance, "ccxt": with_ccxt}[sys.argv[2]]
    print(json.dumps(read(sys.argv[1])))
