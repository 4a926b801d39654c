-- Applies what a commit wrote, or one chunk of it (commit step 5). The values are committed, so a part of them
-- is never wrong; the checkpoint comes with the last chunk, and each chunk proves the one before it: a copy that
-- went back between two chunks has lost the first.
--
-- KEYS[1]       the task's meta
-- KEYS[2]       set of this incarnation's segments
-- KEYS[3..]     hashes to write to, then hashes to drop
-- ARGV[1..6]    whose it is (ours.lua); the checkpoint is the write's base, and has to be met exactly
-- ARGV[7..8]    the write's end (changelog, windows)
-- ARGV[9]       number of this chunk, from 1
-- ARGV[10]      '1' for the last chunk
-- ARGV[11]      time
-- ARGV[12]      '1' where ARGV[13] is a task record
-- ARGV[14]      number of hashes to write to
-- ARGV[15]      number of runs
-- ARGV[16..]    a pair a run: the hash's number from 1, and how many rows (negative: deletes)
-- then          the runs' rows: field and value, or the field alone; at most 3,900 rows a run
--
-- Returns {1} applied, {2} the checkpoint is at the end already, or {0, the meta's fields} (ours.lua).

if not is_owner() then
  return not_ours()
end
if meta[5] == ARGV[7] and meta[6] == ARGV[8] then
  return { 2 }
end
if meta[5] ~= ARGV[5] or meta[6] ~= ARGV[6] then
  return not_ours()
end

local part = tonumber(ARGV[9])
local chunk = ARGV[7] .. '/' .. ARGV[8] .. ':'
if part > 1 then
  local seen = redis.call('HGET', KEYS[1], 'part')
  if seen ~= chunk .. (part - 1) and seen ~= chunk .. part then
    return not_ours()
  end
end

local hashes = tonumber(ARGV[14])
if not is_set_whole(KEYS[2]) then
  return part_is_gone()
end
for hash = 3, 2 + hashes do
  -- What is left of it would look whole once it is written to.
  if is_segment_lost(KEYS[2], KEYS[hash]) then
    return part_is_gone()
  end
end
local runs = tonumber(ARGV[15])
local at = 16 + 2 * runs
for run = 1, runs do
  local key = KEYS[2 + tonumber(ARGV[14 + 2 * run])]
  local rows = tonumber(ARGV[15 + 2 * run])
  if rows > 0 then
    redis.call('HSET', key, unpack(ARGV, at, at + 2 * rows - 1))
    redis.call('SADD', KEYS[2], key)
    at = at + 2 * rows
  else
    redis.call('HDEL', key, unpack(ARGV, at, at - rows - 1))
    at = at - rows
    if redis.call('HLEN', key) == 0 then
      redis.call('SREM', KEYS[2], key)
    end
  end
end
if #KEYS > 2 + hashes then
  redis.call('UNLINK', unpack(KEYS, 3 + hashes, #KEYS))
  redis.call('SREM', KEYS[2], unpack(KEYS, 3 + hashes, #KEYS))
end

redis.call('HSET', KEYS[1], 'segments', redis.call('SCARD', KEYS[2]))

-- The checkpoint last: a script that fails before it has only written values that are committed.
if ARGV[10] ~= '1' then
  redis.call('HSET', KEYS[1], 'part', chunk .. part)
  return { 1 }
end
redis.call('HSET', KEYS[1], 'changelog', ARGV[7], 'windows', ARGV[8], 'time', ARGV[11])
if ARGV[12] == '1' then
  redis.call('HSET', KEYS[1], 'record', ARGV[13])
end
if part > 1 then
  redis.call('HDEL', KEYS[1], 'part')
end
return { 1 }
