// What the scenarios share: settings, ids, one request with its line in the ledger, and the summary.
//
// Every reading's id is made of the run and a number (`readingId`), so that afterwards the database can be asked for
// exactly what this run was told is stored. The ledger is one line an answer, written at once: it survives a killed k6.
// Knows nothing of what a scenario sends when; nothing here may need the network but the requests themselves.

import http from 'k6/http';
import exec from 'k6/execution';
import { sleep } from 'k6';
import { SharedArray } from 'k6/data';
import { Counter, Rate } from 'k6/metrics';

const TABLE = new Map(JSON.parse(open(import.meta.resolve('./settings.json'))).map((row) => [row.name, row.default]));

export function setting(name) {
  if (!TABLE.has(name)) throw new Error(`${name} is not in settings.json`);
  return __ENV[name] || TABLE.get(name);
}

export function number(name) {
  const value = Number(setting(name));
  if (!Number.isFinite(value)) throw new Error(`${name} must be a number, not "${setting(name)}"`);
  return value;
}

const BASE_URLS = (setting('LOAD_BASE_URLS') || 'http://127.0.0.1:8000').split(',').map((url) => url.replace(/\/+$/, ''));
const RUN = setting('LOAD_RUN');
const LEDGER = setting('LOAD_LEDGER') === 'on';
const STATUSES = [0, 200, 201, 400, 401, 403, 404, 413, 415, 422, 429, 500, 502, 503, 504];
const SHED = [429, 503];

const answers = new Map(STATUSES.map((status) => [status, new Counter(`answers_${status}`)]));
const otherAnswers = new Counter('answers_other');
const failed = new Rate('failed'); // no answer, or a server error that is not a polite "later"
const fleetFile = setting('LOAD_FLEET_FILE');
export const fleet = fleetFile ? new SharedArray('fleet', () => JSON.parse(open(fleetFile)).meters) : [];

export const HEADERS = { 'Content-Type': 'application/json' };
if (setting('LOAD_API_KEY')) HEADERS.Authorization = `Bearer ${setting('LOAD_API_KEY')}`;

// Options every scenario starts from. Bodies are dropped unless a request asks for its own.
export const COMMON = {
  discardResponseBodies: true,
  insecureSkipTLSVerify: setting('LOAD_TLS_INSECURE') === 'true',
  summaryTrendStats: ['min', 'med', 'p(95)', 'p(99)', 'max'],
  noVUConnectionReuse: setting('LOAD_REUSE_CONNECTIONS') === 'false',
  userAgent: 'energy-load-lab',
};

// If an iteration was dropped the generator was the limit, and the run says nothing about the service.
export const GENERATOR_KEPT_UP = { dropped_iterations: ['count==0'] };
export const NOTHING_FAILED = { failed: [`rate<=${number('LOAD_FAILED_MAX')}`] };

export function openLoop(rate, durationS, extra) {
  return {
    executor: 'constant-arrival-rate', rate, timeUnit: '1s', duration: `${durationS}s`,
    preAllocatedVUs: Math.min(number('LOAD_VUS_MAX'), Math.max(50, Math.ceil(rate / 2))), maxVUs: number('LOAD_VUS_MAX'),
    gracefulStop: '30s', ...extra,
  };
}

export function openLoopStages(stages, startRate) {
  const most = Math.max(...stages.map((stage) => stage.target));
  return {
    executor: 'ramping-arrival-rate', startRate, timeUnit: '1s', stages, gracefulStop: '30s',
    preAllocatedVUs: Math.min(number('LOAD_VUS_MAX'), Math.max(50, Math.ceil(most / 2))), maxVUs: number('LOAD_VUS_MAX'),
  };
}

const hex = (value, digits) => value.toString(16).padStart(digits, '0');

// `space` keeps the numbers of a run's scenarios apart; the same (space, number) is the same reading, sent again or not.
export function readingId(space, sequence) {
  return `${RUN}-${hex(space, 4)}-4000-8000-${hex(sequence, 12)}`;
}

export function urlFor(sequence, path) {
  return BASE_URLS[sequence % BASE_URLS.length] + path;
}

// One answer, one line: when it was asked, what was asked for, the status, how long it took, how many readings.
// `by` says which column holds the id: `r` the reading's, `d` the device's (the task's API has no reading id).
export function record(by, space, sequence, startedMs, response, count = 1) {
  (answers.get(response.status) || otherAnswers).add(1);
  failed.add(response.status === 0 || (response.status >= 500 && response.status !== 503));
  if (!LEDGER) return;
  const { blocked, connecting, tls_handshaking: handshaking, duration } = response.timings;
  const tookMs = (blocked + connecting + handshaking + duration).toFixed(2);
  console.log(`${startedMs} ${by} ${space} ${sequence} ${count} ${response.status} ${tookMs}`);
}

// History reads have a line too, so that the report can draw them; they acknowledge nothing.
export function recordRead(startedMs, response) {
  record('h', 0, 0, startedMs, response);
}

const replies = http.expectedStatuses({ min: 200, max: 299 }, 422, 429, 503);
const REQUEST = { headers: HEADERS, responseCallback: replies, timeout: '60s' };

// Sends one reading; on "later" or no answer at all, sends the very same again, as a good client does.
export function send(space, sequence, body, { retries = 0, api = 'readings' } = {}) {
  const path = api === 'readings' ? '/v1/readings' : `/${api}/values`;
  const by = api === 'readings' ? 'r' : 'd';
  const text = JSON.stringify(body);
  for (let attempt = 0; ; attempt += 1) {
    const startedMs = Date.now();
    const response = http.post(urlFor(sequence + attempt, path), text, { ...REQUEST, tags: { name: path } });
    record(by, space, sequence, startedMs, response);
    const again = response.status === 0 || SHED.includes(response.status);
    if (!again || attempt >= retries) return response;
    sleep(Math.min(5, Number(response.headers['Retry-After']) || 1));
  }
}

// The reading a scenario without a story sends: of the fleet if there is one, otherwise of a device of its own.
export function plainReading(space, sequence, api) {
  const id = readingId(space, sequence);
  if (api !== 'readings') return { device_id: id, value: 1 + (sequence % 99999) };
  if (fleet.length === 0) return { device_id: id, register: 'T0', value: String(sequence % 100000), reading_id: id };
  const meter = fleet[sequence % fleet.length];
  const register = meter.registers[Math.floor(sequence / fleet.length) % meter.registers.length];
  return { device_id: meter.device_id, register: register.name, value: valueAt(meter, register, sequence / 1e6), reading_id: id };
}

// Cumulative value `days` after the fleet's last reading; the counter starts again at its last digit.
export function valueAt(meter, register, days) {
  const range = 10 ** meter.digits;
  return ((register.value + days * register.per_day) % range).toFixed(meter.decimals);
}

export const sequenceNumber = () => exec.scenario.iterationInTest;

export function summarize(data) {
  const count = (name) => (data.metrics[name] ? data.metrics[name].values.count : 0);
  const lines = [''];
  for (const status of STATUSES) {
    if (count(`answers_${status}`)) lines.push(`${status === 0 ? 'error' : statusText(status)} : ${count(`answers_${status}`)}`);
  }
  if (count('answers_other')) lines.push(`other : ${count('answers_other')}`);
  const took = data.metrics.http_req_duration && data.metrics.http_req_duration.values;
  if (took) lines.push(`latency ms : median ${took.med.toFixed(1)}, p95 ${took['p(95)'].toFixed(1)}, p99 ${took['p(99)'].toFixed(1)}, max ${took.max.toFixed(0)}`);
  const dropped = count('dropped_iterations');
  if (dropped) lines.push(`THE GENERATOR WAS THE LIMIT: it could not send ${dropped} of the requests in time. The figures say nothing about the service.`);
  for (const [name, metric] of Object.entries(data.metrics)) {
    for (const [threshold, state] of Object.entries(metric.thresholds || {})) {
      lines.push(`${state.ok ? 'kept  ' : 'MISSED'} ${name} ${threshold}`);
    }
  }
  const out = { stdout: `${lines.join('\n')}\n` };
  const file = setting('LOAD_SUMMARY_FILE');
  if (file === 'stdout') out.stdout += `\nsummary ${JSON.stringify(data)}\n`;
  else if (file) out[file] = JSON.stringify(data);
  return out;
}

function statusText(status) {
  const names = { 200: 'OK', 201: 'Created', 422: 'Unprocessable Content', 429: 'Too Many Requests', 500: 'Internal Server Error', 503: 'Service Unavailable' };
  return `${status} ${names[status] || ''}`.trim();
}
