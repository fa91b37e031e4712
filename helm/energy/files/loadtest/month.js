// A billing month squeezed into LOAD_DURATION_S: quiet days, the window of the 15th to the 26th with its evening peaks and
// its last-day rush, the late ones after it. Households type (and mistype), meters send by themselves, head-end systems
// deliver batches at night, answers get lost and are asked for again with the same id.
//
// The busiest evening has LOAD_RATE requests a second. Readings carry dates of the month that is played (LOAD_MONTH).

import exec from 'k6/execution';
import { COMMON, GENERATOR_KEPT_UP, NOTHING_FAILED, fleet, number, openLoopStages, plainReading, readingId, send, sequenceNumber, setting, summarize, valueAt } from './lib.js';
import { sendBatch } from './headend.js';

const DAYS = 31;
const DAY_S = number('LOAD_DURATION_S') / DAYS;
const PEAK = number('LOAD_RATE');
const BATCH_ROWS = number('LOAD_BATCH_ROWS');
const MONTH = monthStart(setting('LOAD_MONTH'));

// Share of the busiest evening, by day of the month: a long quiet, a start, a lull, the rush, the latecomers.
const WINDOW = { 15: 0.45, 16: 0.3, 17: 0.24, 18: 0.22, 19: 0.22, 20: 0.28, 21: 0.3, 22: 0.34, 23: 0.48, 24: 0.62, 25: 0.85, 26: 1 };
const LATE = { 27: 0.12, 28: 0.06 };
const QUIET = 0.015;
// Night, morning, working hours, evening: share of the day's evening.
const HOURS = [0.05, 0.4, 0.5, 1];

const HOUSEHOLDS = 0;
const METERS = 1;
const HEADEND = 2;
const SMART_SHARE = 0.3; // of the meters: they send themselves or through a head-end system
const LOST_ANSWERS = 0.02;
const MISTYPED = 0.03;
const CONFIRMED_ANYWAY = 0.1; // of the mistyped

function monthStart(name) {
  const now = new Date();
  if (!name) return Date.UTC(now.getUTCFullYear(), now.getUTCMonth() - 1, 1);
  return Date.UTC(Number(name.slice(0, 4)), Number(name.slice(5, 7)) - 1, 1);
}

// Half of each quarter of a day to get to its rate, half to stay there: people do not come in steps.
function curve(share) {
  const stages = [];
  for (let day = 1; day <= DAYS; day += 1) {
    for (const hour of HOURS) {
      const target = Math.max(1, Math.round(PEAK * share * (WINDOW[day] || LATE[day] || QUIET) * hour));
      const half = `${Math.round((DAY_S / HOURS.length / 2) * 1000)}ms`;
      stages.push({ target, duration: half }, { target, duration: half });
    }
  }
  return stages;
}

export const options = {
  ...COMMON,
  scenarios: {
    households: { ...openLoopStages(curve(0.6), 1), exec: 'household' },
    meters: { ...openLoopStages(curve(0.4), 1), exec: 'meter' },
    headend: {
      executor: 'constant-arrival-rate', exec: 'headEnd', rate: 1, timeUnit: `${Math.round(DAY_S * 500)}ms`,
      duration: `${number('LOAD_DURATION_S')}s`, preAllocatedVUs: 4, maxVUs: 20, gracefulStop: '30s',
    },
  },
  thresholds: { ...GENERATOR_KEPT_UP, ...NOTHING_FAILED },
};

// The played instant: a month's days pass in LOAD_DURATION_S.
const daysIn = () => (Date.now() - exec.scenario.startTime) / 1000 / DAY_S;
const dateOf = (days) => new Date(Math.min(MONTH + days * 86400e3, Date.now())).toISOString();

// The same dice for the same reading in every run.
function dice(sequence, salt) {
  let state = Math.imul(sequence ^ Math.imul(salt, 0x9e3779b1), 0x85ebca6b) >>> 0;
  state = Math.imul(state ^ (state >>> 13), 0xc2b2ae35) >>> 0;
  return ((state ^ (state >>> 16)) >>> 0) / 4294967296;
}

// A scenario's own part of the fleet, each meter in turn and its registers one after the other.
function readingOf(space, sequence, number_, from, to, days, source) {
  const id = readingId(space, number_);
  if (fleet.length === 0) return { ...plainReading(space, number_, 'readings'), read_at: dateOf(days), source };
  const meters = to - from;
  const meter = fleet[from + (sequence % meters)];
  const register = meter.registers[Math.floor(sequence / meters) % meter.registers.length];
  return {
    device_id: meter.device_id, register: register.name, value: valueAt(meter, register, days), read_at: dateOf(days),
    reading_id: id, source,
  };
}

const smart = Math.floor(fleet.length * SMART_SHARE);
const headEndFrom = Math.floor(smart / 2);

// Four numbers each: what is typed first, what is typed after a refusal, and two to spare.
export function household() {
  const sequence = sequenceNumber();
  const reading = readingOf(HOUSEHOLDS, sequence, sequence * 4, smart, fleet.length, daysIn(), 'person');
  const mistyped = dice(sequence, 1) < MISTYPED;
  const first = mistyped ? { ...reading, value: String(Number(reading.value) * 10) } : reading;
  const confirm = mistyped && dice(sequence, 2) < CONFIRMED_ANYWAY;
  const answer = send(HOUSEHOLDS, sequence * 4, confirm ? { ...first, confirm } : first, { retries: 3 });
  if (answer.status === 422) {
    send(HOUSEHOLDS, sequence * 4 + 1, { ...reading, reading_id: readingId(HOUSEHOLDS, sequence * 4 + 1), confirm: true }, { retries: 3 });
  } else if (dice(sequence, 3) < LOST_ANSWERS) {
    send(HOUSEHOLDS, sequence * 4, confirm ? { ...first, confirm } : first, { retries: 3 });
  }
}

export function meter() {
  const sequence = sequenceNumber();
  const reading = readingOf(METERS, sequence, sequence, 0, headEndFrom, daysIn(), 'meter');
  send(METERS, sequence, reading, { retries: 3 });
  if (dice(sequence, 4) < LOST_ANSWERS) send(METERS, sequence, reading, { retries: 3 });
}

export function headEnd() {
  const first = sequenceNumber() * BATCH_ROWS;
  const days = daysIn();
  sendBatch(HEADEND, first, Array.from({ length: BATCH_ROWS },
    (_, n) => readingOf(HEADEND, first + n, first + n, headEndFrom, smart, days, 'meter')));
}

export const handleSummary = summarize;
