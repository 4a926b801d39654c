-- Reads fields of several segments, with the proof that they are ours, at one moment.
--
-- KEYS[1]     the task's meta
-- KEYS[2..]   hashes to read
-- ARGV[1..6]  whose it is (ours.lua)
-- ARGV[7..]   for each hash how many fields (at most 3,900 in all), then the fields
--
-- Returns {1, the first hash's values, …}, each packed by cmsgpack (false where there is none), or {0, the meta's six fields} (ours.lua).

if not is_owner() or not has_not_gone_back() then
  return not_ours()
end

local answer = { 1 }
local at = 7
for hash = 2, #KEYS do
  local fields = tonumber(ARGV[at])
  answer[hash] = cmsgpack.pack(redis.call('HMGET', KEYS[hash], unpack(ARGV, at + 1, at + fields)))
  at = at + fields + 1
end
return answer
