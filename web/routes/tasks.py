"""Tasks: their state, and the routes that make one for the aggregator."""

from typing import Any
from uuid import UUID

from flask import Response
from flask.views import MethodView
from marshmallow import Schema, fields, post_load

from common.tasks import create_task
from common.trades import to_us
from web.api import Blueprint, json_text, stores
from web.errors import NotFound
from web.queries.tasks import task_json
from web.schemas import Body, Stamp, Symbol, Timeframe, Whole

blueprint = Blueprint("tasks", __name__, url_prefix="/api", description="Work that takes a while")


def make_task(kind: str, params: dict[str, Any], task_id: str | None = None) -> str:
    """Queue a task for the process that does its kind, and answer its id: that one, if it is given."""
    with stores().session() as connection:
        return create_task(connection, kind, params, task_id=task_id)


class TaskState(Schema):
    """A task."""

    task_id = fields.UUID()
    kind = fields.String()
    state = fields.String(metadata={"description": "queued, running, done or failed"})
    progress = fields.Float(metadata={"description": "0 to 1"})
    counts = fields.Dict()
    error = fields.String(allow_none=True)
    attempts = fields.Integer()
    created_at = fields.String()
    started_at = fields.String(allow_none=True)
    finished_at = fields.String(allow_none=True)


@blueprint.route("/tasks/<task_id>/")
class TaskResource(MethodView):
    """One task."""

    @blueprint.response(200, TaskState)
    def get(self, task_id: str) -> Response:
        """How far a task is"""
        text = task_json(stores(), str(UUID(task_id))) if _is_uuid(task_id) else None
        if text is None:
            raise NotFound("Task not found")
        return json_text(text)


def _is_uuid(text: str) -> bool:
    try:
        return bool(UUID(text))
    except ValueError:
        return False


class Made(Schema):
    """A task was made."""

    status = fields.String(metadata={"example": "processing"})
    task_id = fields.String(metadata={"description": "GET /api/tasks/<task_id>/ tells how far it is."})


class RangedTask(Body):
    """A part `[start, end)` of all there is; without them, all."""

    start = Stamp(metadata={"type": "string", "description": "ISO 8601, or epoch s, ms or us."})
    end = Stamp(metadata={"type": "string", "description": "Not included."})

    @post_load
    def _to_us(self, body: dict[str, Any], **kwargs: Any) -> dict[str, Any]:
        """A task's row is JSON: stamps become `start_us` and `end_us`."""
        return {(f"{n}_us" if n in ("start", "end") else n): to_us(v) if n in ("start", "end") else v for n, v in body.items()}


class BarsTask(RangedTask):
    """Which bars to build again from ticks."""

    symbol = Symbol(required=True)
    timeframe = Timeframe(load_default="1s")


class BarsTaskMade(Made):
    """A task was made."""

    symbol = fields.String()
    timeframe = fields.String()


@blueprint.route("/ingestion/process-bars/")
class ProcessBarsResource(MethodView):
    """Rebuilding bars."""

    @blueprint.arguments(BarsTask)
    @blueprint.response(202, BarsTaskMade)
    def post(self, body: dict[str, Any]) -> dict[str, Any]:
        """Build the bars of a symbol again from its ticks"""
        task_id = make_task("bars", body)
        return {"status": "processing", "task_id": task_id, "symbol": body["symbol"], "timeframe": body["timeframe"]}


class StatsTask(RangedTask):
    """Which symbol's statistics to compute again."""

    symbol = Symbol(required=True)
    timeframe = Timeframe(load_default="1s")
    window = Whole(2, 10_000, metadata={"description": "Bars in the rolling window; default GEMS_STATS_WINDOW."})


class StatsTaskMade(Made):
    """A task was made."""

    symbol = fields.String()


@blueprint.route("/analytics/compute-stats/")
class ComputeStatsResource(MethodView):
    """Computing statistics."""

    @blueprint.arguments(StatsTask)
    @blueprint.response(202, StatsTaskMade)
    def post(self, body: dict[str, Any]) -> dict[str, Any]:
        """Compute the statistics of a symbol from its bars: any range and window; rows of other windows stay"""
        params = {"window": stores().settings.stats_window, **body}
        return {"status": "processing", "task_id": make_task("stats", params), "symbol": body["symbol"]}
