-- For wrk: asks for PREFIX and a number, one of COUNT at random, or without COUNT a new one each time.
local prefix, count = os.getenv("PREFIX"), tonumber(os.getenv("COUNT"))
local before, behind, last = nil, nil, 0

function init()
  before, behind = wrk.format("GET", prefix .. "@"):match("^(.-)@(.*)$")
end

function request()
  if count then return before .. math.random(count) .. behind end
  last = last + 1
  return before .. last .. behind
end
