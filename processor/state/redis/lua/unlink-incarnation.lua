-- Unlinks an old incarnation, only while the meta names another: after a failover to before the switch it may
-- be the current one again.
--
-- KEYS[1]  the task's meta
-- KEYS[2]  set of the incarnations that have keys
-- KEYS[3]  set of the old incarnation's segments
-- ARGV[1]  the old incarnation
--
-- Returns 1, or 0 where the meta names it, or nothing. The segments are keys of the same slot.

local current = redis.call('HGET', KEYS[1], 'incarnation')
if not current or current == ARGV[1] then
  return 0
end
for _, segment in ipairs(redis.call('SMEMBERS', KEYS[3])) do
  redis.call('UNLINK', segment)
end
redis.call('UNLINK', KEYS[3])
redis.call('SREM', KEYS[2], ARGV[1])
return 1
