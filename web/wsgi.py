"""`gunicorn -c web/gunicorn.conf.py web.wsgi:app`."""

from common.log import set_up_log
from common.settings import Settings
from web.app import create_app
from web.spooled import discard_abandoned

settings = Settings.from_env()
set_up_log("web", settings.log_level)
discard_abandoned(settings)
app = create_app(settings)
