-- For wrk: wrk -t2 -c64 -d20s --latency -s benches/service/locate.lua http://127.0.0.1:8080 -- PHOTO
-- Prints how many answers had which status; wrk's latencies are of all of them, refused ones included.
local threads = {}
function setup(thread) table.insert(threads, thread) end
function init(args)
  local file = assert(io.open(args[1], "rb"), "name a photograph behind --")
  wrk.method, wrk.path, wrk.body = "POST", "/v1/locate", file:read("*a")
  wrk.headers["Content-Type"] = "image/jpeg"
  file:close()
  answered, busy, late, others = 0, 0, 0, 0
end
function request() return wrk.format() end
function response(status)
  if status == 200 then answered = answered + 1
  elseif status == 429 then busy = busy + 1
  elseif status == 503 then late = late + 1
  else others = others + 1 end
end
function done()
  local sums = { answered = 0, busy = 0, late = 0, others = 0 }
  for _, thread in ipairs(threads) do
    for name in pairs(sums) do sums[name] = sums[name] + thread:get(name) end
  end
  print(string.format("status 200: %d, 429: %d, 503: %d, others: %d", sums.answered, sums.busy, sums.late, sums.others))
end
