// An http server in JavaScript that says which Pod answered.

import { getEnvironment } from 'wasi:cli/environment@0.2.0';
import { Fields, OutgoingBody, OutgoingResponse, ResponseOutparam } from 'wasi:http/types@0.2.0';

const bytes = (text) => new TextEncoder().encode(text);

export const incomingHandler = {
  handle(request, responseOut) {
    const environment = Object.fromEntries(getEnvironment());
    const pod = environment.POD_NAME ?? environment.HOSTNAME ?? 'unknown';
    const headers = new Fields();
    headers.append('content-type', bytes('text/plain; charset=utf-8'));
    const response = new OutgoingResponse(headers);
    const body = response.body();
    ResponseOutparam.set(responseOut, { tag: 'ok', val: response });
    const stream = body.write();
    stream.blockingWriteAndFlush(bytes(`hello in JavaScript from ${pod}\n`));
    stream[Symbol.dispose]();
    OutgoingBody.finish(body, undefined);
  },
};
