// Closed loop: how many readings a second LOAD_CLIENTS clients get committed when each waits for its answer.
// k6 itself needs most of a core for a few thousand requests a second: for a server's true ceiling use wrk (`make bench`).

import { COMMON, NOTHING_FAILED, number, plainReading, send, sequenceNumber, setting, summarize } from './lib.js';

const api = setting('LOAD_API');

export const options = {
  ...COMMON,
  scenarios: {
    capacity: { executor: 'constant-vus', vus: number('LOAD_CLIENTS'), duration: `${number('LOAD_DURATION_S')}s`, gracefulStop: '30s' },
  },
  thresholds: { ...NOTHING_FAILED },
};

export default function () {
  const sequence = sequenceNumber();
  send(0, sequence, plainReading(0, sequence, api), { api });
}

export const handleSummary = summarize;
