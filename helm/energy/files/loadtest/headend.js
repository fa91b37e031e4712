// One batch of a head-end system: gzipped NDJSON, every item with its own result in the answer.

import http from 'k6/http';
import { sleep } from 'k6';
import { HEADERS, record, urlFor } from './lib.js';

const PARAMS = {
  headers: { ...HEADERS, 'Content-Type': 'application/x-ndjson' },
  compression: 'gzip',
  responseType: 'text',
  responseCallback: http.expectedStatuses({ min: 200, max: 299 }, 422, 429, 503),
  timeout: '60s',
  tags: { name: 'batch' },
};

// The numbers of `readings` follow one another from `first`. A batch that found no place is sent again as it is.
export function sendBatch(space, first, readings, { retries = 3 } = {}) {
  const body = `${readings.map((reading) => JSON.stringify(reading)).join('\n')}\n`;
  for (let attempt = 0; ; attempt += 1) {
    const startedMs = Date.now();
    const response = http.post(urlFor(first + attempt, '/v1/readings/batch'), body, PARAMS);
    recordItems(space, first, readings.length, startedMs, response);
    if (![0, 429, 503].includes(response.status) || attempt >= retries) return;
    sleep(Math.min(5, Number(response.headers['Retry-After']) || 1));
  }
}

// Neighbours with the same status share a line of the ledger, so a good batch costs one.
function recordItems(space, first, count, startedMs, response) {
  const answered = response.status >= 200 && response.status < 300;
  const items = answered ? response.json('items') : [];
  if (answered && items.length !== count) throw new Error(`sent ${count} readings, got ${items.length} results`);
  for (let from = 0; from < count;) {
    const status = answered ? items[from].status : response.status;
    let to = from + 1;
    while (to < count && (answered ? items[to].status : response.status) === status) to += 1;
    record('r', space, first + from, startedMs, { status, timings: response.timings }, to - from);
    from = to;
  }
}
