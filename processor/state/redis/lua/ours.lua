-- Prepended to every script that proves whose the state is (scripts.ts).
--
-- KEYS[1]     the task's meta
-- ARGV[1..4]  cluster id, topic id, token and incarnation that the meta has to carry
-- ARGV[5..6]  the checkpoint (changelog, windows) that the caller saw last
--
-- What does not prove itself is answered with {0, the meta's six fields}; nil where there is none. Where a part of
-- the copy is gone (evicted, or deleted by somebody) while the meta is not, the meta goes too, so that the next
-- opening begins a new copy, and a seventh field says so.

local meta = redis.call('HMGET', KEYS[1], 'cluster', 'topic', 'token', 'incarnation', 'changelog', 'windows')

local function is_owner()
  return meta[1] == ARGV[1] and meta[2] == ARGV[2] and meta[3] == ARGV[3] and meta[4] == ARGV[4]
end

-- A checkpoint below one that was seen is an older copy, whoever's it is.
local function has_not_gone_back()
  return tonumber(meta[5]) >= tonumber(ARGV[5]) and tonumber(meta[6]) >= tonumber(ARGV[6])
end

-- Every segment that has fields is in the copy's set, and the meta counts the set.
local function is_set_whole(set)
  return redis.call('SCARD', set) == tonumber(redis.call('HGET', KEYS[1], 'segments') or 0)
end

local function is_segment_lost(set, segment)
  if redis.call('HLEN', segment) > 0 then
    return false
  end
  return redis.call('SISMEMBER', set, segment) == 1 or not is_set_whole(set)
end

local function part_is_gone()
  redis.call('UNLINK', KEYS[1])
  return { 0, meta[1], meta[2], meta[3], meta[4], meta[5], meta[6], 'gone' }
end

local function not_ours()
  return { 0, meta[1], meta[2], meta[3], meta[4], meta[5], meta[6] }
end

