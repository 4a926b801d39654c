-- Begins an empty copy and lets the meta name it (open step 4).
--
-- KEYS[1]  the task's meta
-- KEYS[2]  set of the incarnations that have keys
-- KEYS[3]  set of the new incarnation's segments
-- ARGV[1]  cluster id   ARGV[2]  topic id   ARGV[3]  token   ARGV[4]  incarnation   ARGV[5]  time
--
-- Returns {1, {other incarnations}}, or {0, the meta's six fields} where a higher token of this log holds it.
-- Another log's meta gives way whatever its token.

local meta = redis.call('HMGET', KEYS[1], 'cluster', 'topic', 'token', 'incarnation', 'changelog', 'windows')
if meta[1] == ARGV[1] and meta[2] == ARGV[2] and tonumber(meta[3]) > tonumber(ARGV[3]) then
  return { 0, meta[1], meta[2], meta[3], meta[4], meta[5], meta[6] }
end

-- Left by the same opening, tried before: a copy begins empty.
for _, segment in ipairs(redis.call('SMEMBERS', KEYS[3])) do
  redis.call('UNLINK', segment)
end
redis.call('UNLINK', KEYS[3], KEYS[1])
redis.call('SADD', KEYS[2], ARGV[4])
redis.call(
  'HSET', KEYS[1],
  'cluster', ARGV[1], 'topic', ARGV[2], 'token', ARGV[3], 'incarnation', ARGV[4],
  'changelog', '0', 'windows', '0', 'segments', '0', 'time', ARGV[5]
)

local others = {}
for _, incarnation in ipairs(redis.call('SMEMBERS', KEYS[2])) do
  if incarnation ~= ARGV[4] then
    others[#others + 1] = incarnation
  end
end
return { 1, others }
