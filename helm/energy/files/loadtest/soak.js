// The same mixture as mixed.js for as long as you have: what grows by itself (memory, queues, latency) shows here.
// Set LOAD_DURATION_S=28800 for a night.

export { options, write, read, handleSummary } from './mixed.js';
