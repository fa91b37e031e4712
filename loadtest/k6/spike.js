// From nothing to the peak, to LOAD_SPIKE_FACTOR times the peak, back to the peak and to nothing. Shedding is allowed;
// losing, failing and falling below the peak's own throughput are not (the report judges the last two from the ledger).

import { COMMON, GENERATOR_KEPT_UP, NOTHING_FAILED, number, openLoopStages, plainReading, send, sequenceNumber, setting, summarize } from './lib.js';

const api = setting('LOAD_API');
const peak = number('LOAD_RATE');
const spike = peak * number('LOAD_SPIKE_FACTOR');
const hold = `${number('LOAD_SPIKE_HOLD_S')}s`;

export const options = {
  ...COMMON,
  scenarios: {
    // Overload means many open requests at once: the users must be there before the spike is.
    spike: { ...openLoopStages([
      { target: peak, duration: '5s' }, { target: peak, duration: hold },
      { target: spike, duration: '2s' }, { target: spike, duration: hold },
      { target: peak, duration: '2s' }, { target: peak, duration: hold },
      { target: 0, duration: '5s' },
    ], 0), preAllocatedVUs: number('LOAD_VUS_MAX') },
  },
  thresholds: { ...GENERATOR_KEPT_UP, ...NOTHING_FAILED },
};

export default function () {
  const sequence = sequenceNumber();
  send(0, sequence, plainReading(0, sequence, api), { api });
}

export const handleSummary = summarize;
