// The task's four tests: N requests at the start of each second, for a few seconds, to one or several servers in turn.
// LOAD_TEST=1..4 takes the task's own figures; 0 takes LOAD_BURST, LOAD_BURST_SECONDS and LOAD_BURST_API.

import http from 'k6/http';
import exec from 'k6/execution';
import { COMMON, GENERATOR_KEPT_UP, HEADERS, number, plainReading, record, setting, summarize, urlFor } from './lib.js';

const TESTS = {
  0: { burst: number('LOAD_BURST'), seconds: number('LOAD_BURST_SECONDS'), api: setting('LOAD_BURST_API') },
  1: { burst: 200, seconds: 5, api: 'v1' },
  2: { burst: 300, seconds: 5, api: 'v2' },
  3: { burst: 1000, seconds: 5, api: 'v2' },
  4: { burst: 1000, seconds: 5, api: 'v1' },
};
const { burst, seconds, api } = TESTS[number('LOAD_TEST')];
const QUIET = setting('LOAD_LEDGER') === 'on';

export const options = {
  ...COMMON,
  batch: burst,
  batchPerHost: 0,
  scenarios: {
    bursts: {
      executor: 'constant-arrival-rate', rate: 1, timeUnit: '1s', duration: `${seconds}s`, preAllocatedVUs: seconds,
      maxVUs: seconds + 1, gracefulStop: '60s',
    },
  },
  thresholds: { ...GENERATOR_KEPT_UP, answers_201: [`count==${burst * seconds}`] },
};

const clock = (ms) => new Date(ms).toISOString().slice(11, 23);

export default function () {
  const second = exec.scenario.iterationInTest;
  if (second >= seconds) return; // k6 may begin one more as the time ends
  const path = `/${api}/values`;
  const params = { headers: HEADERS, timeout: '60s', tags: { name: path } };
  const requests = [];
  for (let n = second * burst; n < (second + 1) * burst; n += 1) {
    requests.push(['POST', urlFor(n, path), JSON.stringify(plainReading(0, n, api)), params]);
  }
  const startedMs = Date.now();
  if (!QUIET) console.log(`${clock(startedMs)} Second ${second + 1}`);
  http.batch(requests).forEach((response, n) => record('d', 0, second * burst + n, startedMs, response));
  if (!QUIET && second === seconds - 1) console.log(`${clock(Date.now())} End test`);
}

export const handleSummary = summarize;
