// Writes at the peak's rate while households and operators read the history: reads must not slow acknowledgements down.

import http from 'k6/http';
import { COMMON, GENERATOR_KEPT_UP, HEADERS, NOTHING_FAILED, fleet, number, openLoop, plainReading, readingId, recordRead, send, sequenceNumber, setting, summarize, urlFor } from './lib.js';

const api = setting('LOAD_API');

export const options = {
  ...COMMON,
  scenarios: {
    writes: openLoop(number('LOAD_RATE'), number('LOAD_DURATION_S'), { exec: 'write' }),
    reads: openLoop(number('LOAD_READ_RATE'), number('LOAD_DURATION_S'), { exec: 'read' }),
  },
  thresholds: {
    ...GENERATOR_KEPT_UP, ...NOTHING_FAILED,
    'http_req_duration{scenario:writes}': [`p(99)<${number('LOAD_P99_MS')}`],
    'http_req_duration{scenario:reads}': [`p(99)<${4 * number('LOAD_P99_MS')}`],
  },
};

export function write() {
  const sequence = sequenceNumber();
  send(0, sequence, plainReading(0, sequence, api), { api });
}

export function read() {
  const sequence = sequenceNumber();
  const device = fleet.length ? fleet[sequence % fleet.length].device_id : readingId(0, sequence * 7);
  const startedMs = Date.now();
  const url = urlFor(sequence, `/v1/devices/${device}/readings?limit=24`);
  recordRead(startedMs, http.get(url, { headers: HEADERS, tags: { name: 'history' } }));
}

export const handleSummary = summarize;
