-- Tries what the other scripts need, so that a replica, a full server or a user without the rights shows at once.
--
-- KEYS[1]  a hash of the probe's own      KEYS[2]  a set of the probe's own
--
-- Returns 'OK', and leaves nothing behind.

redis.call('HSET', KEYS[1], 'probe', '1')
redis.call('HGET', KEYS[1], 'probe')
redis.call('HMGET', KEYS[1], 'probe')
redis.call('HLEN', KEYS[1])
redis.call('HSCAN', KEYS[1], '0')
redis.call('HDEL', KEYS[1], 'probe')
redis.call('SADD', KEYS[2], 'probe')
redis.call('SMEMBERS', KEYS[2])
redis.call('SISMEMBER', KEYS[2], 'probe')
redis.call('SCARD', KEYS[2])
redis.call('SREM', KEYS[2], 'probe')
redis.call('INFO', 'server')
redis.call('UNLINK', KEYS[1], KEYS[2])
return 'OK'
