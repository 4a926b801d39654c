-- Reads fields of several segments, with the proof that they are ours, at one moment.
--
-- KEYS[1]     the task's meta
-- KEYS[2]     set of this incarnation's segments
-- KEYS[3..]   hashes to read
-- ARGV[1..6]  whose it is (ours.lua)
-- ARGV[7..]   for each hash how many fields (at most 3,900 in all), then the fields
--
-- Returns {1, the first hash's values, …}, each packed by cmsgpack (false where there is none), or {0, the meta's fields} (ours.lua).

if not is_owner() or not has_not_gone_back() then
  return not_ours()
end

local answer = { 1 }
local at = 7
for hash = 3, #KEYS do
  if is_segment_lost(KEYS[2], KEYS[hash]) then
    return part_is_gone()
  end
  local fields = tonumber(ARGV[at])
  answer[hash - 1] = cmsgpack.pack(redis.call('HMGET', KEYS[hash], unpack(ARGV, at + 1, at + fields)))
  at = at + fields + 1
end
return answer
