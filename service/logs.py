"""How the log is written: a JSON object a line, or lines for a person. Modules log as ever, with further fields in `extra`."""

import logging
import sys
from contextvars import ContextVar
from typing import Any

import structlog
from structlog.typing import EventDict, Processor

from service.settings import Settings

REQUEST_ID: ContextVar[str] = ContextVar("request_id", default="")  # of the request that is being answered, if one is


def configure_logs(settings: Settings) -> None:
    """From now on all that is logged goes to standard error as the settings say."""
    handler = logging.StreamHandler()
    handler.setFormatter(formatter(settings, sys.stderr.isatty()))
    logging.basicConfig(level=settings.log_level.upper(), handlers=[handler])


def formatter(settings: Settings, is_terminal: bool) -> logging.Formatter:
    """auto: for a person at a terminal, for a machine elsewhere."""
    is_json = settings.log_format == "json" or (settings.log_format == "auto" and not is_terminal)
    return structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=[
            structlog.stdlib.add_log_level,
            structlog.stdlib.add_logger_name,
            structlog.stdlib.ExtraAdder(),
            _name_request,
            structlog.processors.TimeStamper(fmt="iso" if is_json else "%H:%M:%S", utc=is_json),
        ],
        processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *_rendering(is_json, is_terminal)],
    )


def _rendering(is_json: bool, is_terminal: bool) -> list[Processor]:
    if is_json:
        return [structlog.processors.format_exc_info, structlog.processors.JSONRenderer(ensure_ascii=False, default=str)]
    plain = structlog.dev.plain_traceback  # the other forms show values of variables: texts of clients, keys
    return [structlog.dev.ConsoleRenderer(colors=is_terminal, exception_formatter=plain)]


def _name_request(_: Any, __: str, event: EventDict) -> EventDict:
    """Adds its id; takes away uvicorn's second form of the same line."""
    event.pop("color_message", None)
    if "request_id" not in event and (request_id := REQUEST_ID.get()):
        event["request_id"] = request_id
    return event
