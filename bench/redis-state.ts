/**
 * What state in Redis costs: fields a second and CPU-seconds of the client per million, of applying commits and
 * of reading in bulk, beside plain ioredis doing the same with HSET and HMGET in pipelines, in one run against
 * one server of its own. `node bench/redis-state.ts [keys]`.
 */
import { Redis } from 'ioredis'
import { systemClock } from '../config/clock.ts'
import { startRedis } from '../deploy/stack/servers.ts'
import { BatchBuilder } from '../log/batch.ts'
import { windowKey } from '../processor/state/keys.ts'
import { RedisState } from '../processor/state/redis/redis-state.ts'

const KEYS = Number(process.argv[2] ?? 10_000)
const ROUNDS = Math.max(3, Math.ceil(1_000_000 / KEYS))
const PLAIN_FIELDS = 1_000
const OWNER = { clusterId: 'bench', topicId: 'bench', token: 1 }

const servers = await startRedis()
const url = servers.env.REDIS_URL
const names = Array.from({ length: KEYS }, (_, i) => `customer-${i}`)
const keys = names.map((name) => windowKey(1, 0, 0, name))
const fields = keys.map((key) => key.subarray(10))
const value = Buffer.alloc(40, 7)

console.log(`${KEYS} keys, ${ROUNDS} rounds; key 18 + ${names.at(-1)!.length} bytes, value ${value.length}`)
try {
  const state = await RedisState.open({ url, application: 'bench', clock: systemClock })
  const task = await state.takeOver('bench_0', OWNER)
  await task.newIncarnation(0)
  const records = new BatchBuilder('windows', 0)
  let windows = 0
  await measure('apply, hand-built and fenced', async () => {
    records.clear()
    for (const key of keys) records.append(key, value)
    const write = { records: [records], dropPrefixes: [], taskRecord: null, timeMs: 0 }
    await task.apply({ ...write, base: { changelog: 0, windows }, end: { changelog: 0, windows: ++windows } })
  })
  await measure('readMany, hand-built and proven', async () => {
    await task.readMany(keys)
  })
  await state.close()

  const plain = new Redis(url)
  await measure('ioredis pipeline of HSET', async () => {
    const pipeline = plain.pipeline()
    for (let from = 0; from < KEYS; from += PLAIN_FIELDS) {
      const pairs: Buffer[] = []
      for (const field of fields.slice(from, from + PLAIN_FIELDS)) pairs.push(field, value)
      pipeline.hset('plain', ...pairs)
    }
    await pipeline.exec()
  })
  await measure('ioredis pipeline of HMGET', async () => {
    const pipeline = plain.pipeline()
    for (let from = 0; from < KEYS; from += PLAIN_FIELDS) {
      pipeline.hmgetBuffer('plain', ...fields.slice(from, from + PLAIN_FIELDS))
    }
    await pipeline.exec()
  })
  plain.disconnect()
} finally {
  await servers.stop()
}

async function measure(what: string, round: () => Promise<void>): Promise<void> {
  for (let i = 0; i < 3; i++) await round()
  const cpu = process.cpuUsage()
  const startedAt = performance.now()
  for (let i = 0; i < ROUNDS; i++) await round()
  const seconds = (performance.now() - startedAt) / 1e3
  const { user, system } = process.cpuUsage(cpu)
  const millions = (ROUNDS * KEYS) / 1e6
  const rate = (millions / seconds) * 1e3
  const cost = (user + system) / 1e6 / millions
  console.log(
    `${what.padEnd(34)} ${rate.toFixed(0).padStart(6)}k fields/s ${cost.toFixed(2).padStart(6)} client CPU-s/M`,
  )
}
