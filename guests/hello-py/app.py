"""An http server in Python that says which Pod answered."""

import os

from componentize_py_types import Ok
from wit_world import exports
from wit_world.imports.types import (
    Fields,
    IncomingRequest,
    OutgoingBody,
    OutgoingResponse,
    ResponseOutparam,
)


class IncomingHandler(exports.IncomingHandler):
    def handle(self, request: IncomingRequest, response_out: ResponseOutparam) -> None:
        pod = os.environ.get("POD_NAME") or os.environ.get("HOSTNAME") or "unknown"
        headers = Fields()
        headers.append("content-type", b"text/plain; charset=utf-8")
        response = OutgoingResponse(headers)
        body = response.body()
        ResponseOutparam.set(response_out, Ok(response))
        with body.write() as stream:
            stream.blocking_write_and_flush(f"hello in Python from {pod}\n".encode())
        OutgoingBody.finish(body, None)
