"""One resource a file; `BLUEPRINTS` is all of them."""

from web.routes.alert_actions import blueprint as alert_actions
from web.routes.alerts import blueprint as alerts
from web.routes.analytics import blueprint as analytics
from web.routes.assets import blueprint as assets
from web.routes.backtest import blueprint as backtest
from web.routes.binance import blueprint as binance
from web.routes.dashboard import blueprint as dashboard
from web.routes.deliveries import blueprint as deliveries
from web.routes.docs import blueprint as docs
from web.routes.exports import blueprint as exports
from web.routes.health import blueprint as health
from web.routes.ingest import blueprint as ingest
from web.routes.market import blueprint as market
from web.routes.pairs import blueprint as pairs
from web.routes.receivers import blueprint as receivers
from web.routes.scan import blueprint as scan
from web.routes.session import blueprint as session
from web.routes.silences import blueprint as silences
from web.routes.spread import blueprint as spread
from web.routes.stream import blueprint as stream
from web.routes.tasks import blueprint as tasks
from web.routes.udf import blueprint as udf
from web.routes.upload import blueprint as upload

#: Part of the API, and so of its document.
API_BLUEPRINTS = (
    ingest, upload, market, analytics, spread, pairs, scan, backtest, alerts, alert_actions, silences, receivers, deliveries,
    tasks, exports, health, stream, session,
)  # fmt: skip
#: Pages and files, and routes whose shapes are others'.
PLAIN_BLUEPRINTS = (dashboard, assets, docs, binance, udf)
