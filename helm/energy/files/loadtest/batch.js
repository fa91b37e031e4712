// Head-end systems: LOAD_BATCH_CLIENTS of them send gzipped batches of LOAD_BATCH_ROWS readings one after the other.

import exec from 'k6/execution';
import { sendBatch } from './headend.js';
import { COMMON, NOTHING_FAILED, number, plainReading, setting, summarize } from './lib.js';

if (setting('LOAD_API') !== 'readings') throw new Error('batches exist in LOAD_API=readings only');
const rows = number('LOAD_BATCH_ROWS');

export const options = {
  ...COMMON,
  scenarios: {
    batches: {
      executor: 'constant-vus', vus: number('LOAD_BATCH_CLIENTS'), duration: `${number('LOAD_DURATION_S')}s`, gracefulStop: '60s',
    },
  },
  thresholds: { ...NOTHING_FAILED },
};

export default function () {
  const first = exec.scenario.iterationInTest * rows;
  const readings = Array.from({ length: rows }, (_, n) => plainReading(0, first + n, 'readings'));
  sendBatch(0, first, readings);
}

export const handleSummary = summarize;
