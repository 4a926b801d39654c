-- Reads a piece of a segment, with the proof that it is ours, at one moment. A cursor means something to the
-- server that gave it only: another one (restart, failover) hashes differently and would leave entries out.
--
-- KEYS[1]     the task's meta
-- KEYS[2]     the hash to scan
-- KEYS[3]     set of this incarnation's segments
-- ARGV[1..6]  whose it is (ours.lua)
-- ARGV[7]     cursor, '0' at the start
-- ARGV[8]     the server's run id, '' at the start
-- ARGV[9]     pattern of the fields
-- ARGV[10]    how many to look at
--
-- Returns {1, run id, next cursor, {field, value, …}}, {2} where the server is another one,
-- or {0, the meta's fields} (ours.lua).

if not is_owner() or not has_not_gone_back() then
  return not_ours()
end

if is_segment_lost(KEYS[3], KEYS[2]) then
  return part_is_gone()
end

local run_id = string.match(redis.call('INFO', 'server'), 'run_id:(%w+)')
if ARGV[8] ~= '' and ARGV[8] ~= run_id then
  return { 2 }
end
local found = redis.call('HSCAN', KEYS[2], ARGV[7], 'MATCH', ARGV[9], 'COUNT', ARGV[10])
return { 1, run_id, found[1], found[2] }
