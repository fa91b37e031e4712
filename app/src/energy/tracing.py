"""OpenTelemetry traces, for anyone who configures an endpoint: one span per request, sent in the background over HTTP.

Off by default, and then nothing of it is even imported: a span costs more than a reading.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from energy import __version__

if TYPE_CHECKING:
    from energy.http.app import Application

_UNTRACED = "livez,readyz,metrics"


class TracingUnavailable(Exception):
    """Tracing was asked for and its packages are not installed."""


def traced(app: Application, endpoint: str) -> Application:
    """The application inside a middleware that traces it to `endpoint` (OTLP over HTTP). Raises `TracingUnavailable`."""
    try:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter  # noqa: PLC0415 - only when asked for
        from opentelemetry.instrumentation.asgi import OpenTelemetryMiddleware  # noqa: PLC0415 - as above
        from opentelemetry.sdk.resources import Resource  # noqa: PLC0415 - as above
        from opentelemetry.sdk.trace import TracerProvider  # noqa: PLC0415 - as above
        from opentelemetry.sdk.trace.export import BatchSpanProcessor  # noqa: PLC0415 - as above
    except ImportError as error:
        raise TracingUnavailable(
            "ENERGY_OTLP_ENDPOINT is set, but tracing is not installed: pip install 'energy-readings[tracing]'"
        ) from error
    provider = TracerProvider(resource=Resource.create({"service.name": "energy", "service.version": __version__}))
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter(endpoint=endpoint)))
    wrapped: Application = OpenTelemetryMiddleware(app, excluded_urls=_UNTRACED, tracer_provider=provider)  # type: ignore[assignment]  # an ASGI application too
    return wrapped
