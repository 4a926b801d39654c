-- Takes the state over by compare-and-set on the token (open step 3).
--
-- KEYS[1]  the task's meta
-- KEYS[2]  set of the incarnations that have keys
-- ARGV[1]  cluster id      ARGV[2]  topic id      ARGV[3]  token
--
-- Returns {status, {cluster, topic, token, incarnation, changelog, windows, time, record}, {other incarnations}},
-- all as they were before
--   status 0  a higher token of this log holds it
--          1  taken over: it carries our token now
--          2  nothing there, or another log's state

local meta = redis.call(
  'HMGET', KEYS[1],
  'cluster', 'topic', 'token', 'incarnation', 'changelog', 'windows', 'time', 'record'
)

if meta[1] ~= ARGV[1] or meta[2] ~= ARGV[2] then
  return { 2, meta, {} }
end
if tonumber(meta[3]) > tonumber(ARGV[3]) then
  return { 0, meta, {} }
end

redis.call('HSET', KEYS[1], 'token', ARGV[3])

local others = {}
for _, incarnation in ipairs(redis.call('SMEMBERS', KEYS[2])) do
  if incarnation ~= meta[4] then
    others[#others + 1] = incarnation
  end
end
return { 1, meta, others }
