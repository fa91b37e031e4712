-- wrk script: every request a new random device; BENCH_KEY adds an Idempotency-Key, BENCH_TOKEN an API key.
local key, token, path, many = os.getenv("BENCH_KEY"), os.getenv("BENCH_TOKEN"), os.getenv("BENCH_PATH"), 0
local worker = 0
function setup(thread) thread:set("number", worker); worker = worker + 1 end
function init() math.randomseed(os.time() * 1000 + number); tag = string.format("%d-%d", os.time(), number) end
function request()
  many = many + 1
  local id = string.format("%08x-%04x-4%03x-8%03x-%04x%08x", math.random(0, 0xffffffff), math.random(0, 0xffff),
    math.random(0, 0xfff), math.random(0, 0xfff), math.random(0, 0xffff), math.random(0, 0xffffffff))
  local headers = { ["Content-Type"] = "application/json" }
  if key then headers["Idempotency-Key"] = tag .. "-" .. many end
  if token then headers["Authorization"] = "Bearer " .. token end
  return wrk.format("POST", path, headers, string.format('{"device_id":"%s","value":%d}', id, math.random(0, 99999)))
end
local threads = {}
local statuses = {}
function response(status) statuses[status] = (statuses[status] or 0) + 1; summary = "" for s, n in pairs(statuses) do summary = summary .. s .. "=" .. n .. " " end end
local setup_before = setup
function setup(thread) setup_before(thread); table.insert(threads, thread) end
function done(_, latency)
  for _, thread in ipairs(threads) do io.write("STATUS ", thread:get("summary") or "", "\n") end
  io.write(string.format("LATENCY %f %f %f\n", latency:percentile(50) / 1000, latency:percentile(99) / 1000, latency.max / 1000))
end
