// The task's peak, open loop: LOAD_RATE requests a second whatever the service does, as a district full of people would.

import { COMMON, GENERATOR_KEPT_UP, NOTHING_FAILED, number, openLoop, plainReading, send, sequenceNumber, setting, summarize } from './lib.js';

const api = setting('LOAD_API');

export const options = {
  ...COMMON,
  scenarios: { peak: openLoop(number('LOAD_RATE'), number('LOAD_DURATION_S')) },
  thresholds: { ...GENERATOR_KEPT_UP, ...NOTHING_FAILED, http_req_duration: [`p(99)<${number('LOAD_P99_MS')}`] },
};

export default function () {
  const sequence = sequenceNumber();
  send(0, sequence, plainReading(0, sequence, api), { api });
}

export const handleSummary = summarize;
