-- Alertmanager v4 bodies of one alert each. One in ten brings an alert nobody has seen; the others
-- repeat one of a pool. Arguments: a number for this run, the size of the pool, repeats in percent.
local threads = 0

function setup(thread)
  thread:set("id", threads)
  threads = threads + 1
end

local template = '{"receiver":"firebreak","status":"firing","alerts":[{"status":"firing","labels":' ..
  '{"alertname":"HighRequestLatency","severity":"warning","instance":"%s","job":"checkout",' ..
  '"namespace":"shop","pod":"checkout-7c9d8b6f5-%s","cluster":"eu-1","team":"payments"},' ..
  '"annotations":{"summary":"99th percentile of request latency is above 500 ms",' ..
  '"description":"The 99th percentile of the latency of requests to checkout has been above 500 ms ' ..
  'for five minutes. Customers wait when they pay, and some of them leave. Look at the database ' ..
  'first: its connection pool has been the cause in most of the past cases.",' ..
  '"runbook_url":"https://runbooks.example.org/checkout/high-request-latency",' ..
  '"dashboard":"https://grafana.example.org/d/checkout?var-instance=%s"},' ..
  '"startsAt":"2026-11-01T12:00:00.000Z","endsAt":"0001-01-01T00:00:00Z",' ..
  '"generatorURL":"http://prometheus:9090/graph?g0.expr=histogram_quantile%%280.99%%2C+sum+by+%%28' ..
  'instance%%2C+le%%29+%%28rate%%28request_seconds_bucket%%5B5m%%5D%%29%%29%%29+%%3E+0.5&g0.tab=1",' ..
  '"fingerprint":"%s"}],"groupLabels":{"alertname":"HighRequestLatency"},"commonLabels":' ..
  '{"alertname":"HighRequestLatency","severity":"warning","job":"checkout","namespace":"shop"},' ..
  '"commonAnnotations":{},"externalURL":"http://alertmanager:9093","version":"4",' ..
  '"groupKey":"{}:{alertname=\\"HighRequestLatency\\"}","truncatedAlerts":0}'

local function body(name, fingerprint)
  return string.format(template, name, name, name, fingerprint)
end

function init(args)
  run, pool, repeats = tonumber(args[1]), tonumber(args[2]), tonumber(args[3])
  wrk.method = "POST"
  wrk.headers["Content-Type"] = "application/json"
  wrk.headers["Authorization"] = os.getenv("BENCH_AUTHORIZATION")
  known = {}
  for i = 1, pool do
    known[i] = wrk.format(nil, nil, nil, body("known-" .. i, string.format("%016x", i)))
  end
  count = 0
end

function request()
  count = count + 1
  if repeats < 0 then
    -- Each of the pool once, then over again.
    return known[(count + id) % pool + 1]
  end
  if count * 7 % 100 < repeats then
    return known[count * 31 % pool + 1]
  end
  local number = string.format("%x-%x-%x", run, id, count)
  return wrk.format(nil, nil, nil, body("new-" .. number, string.format("f%03x%04x%08x", run, id, count)))
end

function done(summary, latency, requests)
  local failed = summary.errors
  io.write(string.format("\nresult %d %d %d %d %d %d\n", summary.requests, summary.duration,
    failed.status, failed.connect + failed.read + failed.write + failed.timeout,
    latency:percentile(50), latency:percentile(99)))
end
