-- For wrk: asks for PREFIX in one of COUNT variants, at random.
local path, count = os.getenv("PREFIX"), tonumber(os.getenv("COUNT"))
local requests = {}

function init()
  for variant = 1, count do
    requests[variant] = wrk.format("GET", path, { ["x-variant"] = variant })
  end
end

function request()
  return requests[math.random(count)]
end
