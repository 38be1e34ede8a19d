"""A receiver of OTLP metrics over HTTP, for tests: it shares no code with finwait.

It decodes with the protobuf definitions that OpenTelemetry publishes for Python, and prints one JSON object a line: first
the port that it listens on, then each request. A bucket of an exponential histogram is printed with its bounds, computed
here from scale and index.

usage: receiver.py [--busy N]    the first N requests are answered 503 with Retry-After: 1
"""

import argparse
import json
import math
from http.server import BaseHTTPRequestHandler, HTTPServer

from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsServiceRequest,
    ExportMetricsServiceResponse,
)
from opentelemetry.proto.metrics.v1.metrics_pb2 import AggregationTemporality

PROTOBUF = "application/x-protobuf"


def say(thing):
    print(json.dumps(thing), flush=True)


def attributes(pairs):
    read = {pair.key: getattr(pair.value, pair.value.WhichOneof("value")) for pair in pairs}
    if len(read) != len(pairs):
        raise ValueError(f"an attribute stands twice: {pairs}")
    return read


def finite(number):
    """JSON has no infinity."""
    return number if math.isfinite(number) else str(number)


def number(point):
    kind = point.WhichOneof("value")
    return {"type": kind, "value": finite(getattr(point, kind))}


def buckets(side, scale):
    """Lower bound (not included), upper bound (included) and count of each bucket that holds anything."""
    base = 2.0 ** (2.0**-scale)
    counts = enumerate(side.bucket_counts, start=side.offset)
    return [[base**index, base ** (index + 1), count] for index, count in counts if count]


def distribution(point):
    return {
        "count": point.count,
        "sum": point.sum,
        "zero_count": point.zero_count,
        "scale": point.scale,
        "offset": point.positive.offset,
        "counts": list(point.positive.bucket_counts),
        "buckets": buckets(point.positive, point.scale),
        "negative": sum(point.negative.bucket_counts),
        "has_min_or_max": point.HasField("min") or point.HasField("max"),
        "exemplars": [
            {"value": exemplar.as_double, "time": exemplar.time_unix_nano}
            | {"attributes": attributes(exemplar.filtered_attributes)}
            for exemplar in point.exemplars
        ],
    }


def metric(read):
    kind = read.WhichOneof("data")
    data = getattr(read, kind)
    shown = {"name": read.name, "unit": read.unit, "description": read.description, "kind": kind}
    if kind != "gauge":
        shown["temporality"] = AggregationTemporality.Name(data.aggregation_temporality)
    if kind == "sum":
        shown["monotonic"] = data.is_monotonic
    values = distribution if kind == "exponential_histogram" else number
    shown["points"] = [
        {"attributes": attributes(point.attributes)}
        | {"start": point.start_time_unix_nano, "time": point.time_unix_nano}
        | values(point)
        for point in data.data_points
    ]
    return shown


def request(body):
    read = ExportMetricsServiceRequest.FromString(body)
    return [
        {
            "resource": attributes(resource.resource.attributes),
            "schema": resource.schema_url,
            "scope": scope.scope.name,
            "scope_version": scope.scope.version,
            "metrics": [metric(one) for one in scope.metrics],
        }
        for resource in read.resource_metrics
        for scope in resource.scope_metrics
    ]


class Receiver(BaseHTTPRequestHandler):
    """Answers as the protocol wants it."""

    busy = 0

    def do_POST(self):
        body = self.rfile.read(int(self.headers["content-length"]))
        told = {"path": self.path, "headers": {name.lower(): value for name, value in self.headers.items()}}
        if Receiver.busy > 0:
            Receiver.busy -= 1
            say(told | {"status": 503})
            self.answer(503, b"", {"Retry-After": "1"})
            return
        try:
            if self.path != "/v1/metrics" or self.headers["content-type"] != PROTOBUF:
                raise ValueError("not a request for OTLP metrics")
            say(told | {"status": 200, "bytes": len(body), "scopes": request(body)})
        except Exception as error:  # Whatever it is, the test is to see it.
            say(told | {"status": 400, "error": repr(error)})
            self.answer(400, b"", {})
            return
        self.answer(200, ExportMetricsServiceResponse().SerializeToString(), {"Content-Type": PROTOBUF})

    def answer(self, status, body, headers):
        self.send_response(status)
        for name, value in (headers | {"Content-Length": str(len(body))}).items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        """Standard output tells it."""


def main():
    arguments = argparse.ArgumentParser()
    arguments.add_argument("--busy", type=int, default=0)
    Receiver.busy = arguments.parse_args().busy
    server = HTTPServer(("127.0.0.1", 0), Receiver)
    say({"port": server.server_port})
    server.serve_forever()


if __name__ == "__main__":
    main()
