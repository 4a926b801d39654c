/**
 * `npm run demo:crash [-- --seconds 60]`: starts a broker, a Redis and two workers, feeds orders in, kills a worker
 * every few seconds, and then proves every row of every topic against what the input alone gives.
 */
import { appendFileSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { parseArgs } from 'node:util'
import { Random } from '../../bridge/generator/random.ts'
import { Block } from '../../cli/live/block.ts'
import { startKafka, startRedis } from '../../deploy/stack/servers.ts'
import { expectedRows, TOPICS } from './expected.ts'
import { OrderLines, type GivenLine } from './input.ts'
import { Role, type End } from './role.ts'
import { verdictReport } from './report.ts'
import { isWrong, verify, type Verdict } from './verify.ts'
import { Written } from './written.ts'

const APPLICATION = 'orders'
const PARTITIONS = 4
const THRESHOLDS = { spikeAbove: 90, dropBelow: 5 }
const ORDERS_PER_SECOND = 200
const FEED_MS = 250
/** How soon the others notice that a worker is dead. */
const SESSION_MS = 2_000
/** Between two kills; the next may come before the last one is mended. */
const CALM_MS = { least: 2_000, most: 9_000 }
const DRAIN_MS = 120_000

const { values } = parseArgs({ options: { seconds: { type: 'string', default: '60' } } })
const seconds = Number(values.seconds)
const directory = mkdtempSync(join(tmpdir(), 'millrace-crash-'))
const say = (line: string): void => console.log(line)

say('Starting a Kafka broker and a Redis; the first time they are fetched, which takes a minute or two.')
const kafka = await startKafka()
const redis = await startRedis()
const brokers = kafka.env.KAFKA_BROKERS.split(',')
const file = join(directory, 'orders.ndjson')
writeFileSync(file, '')

let isOver = false
let kills = 0
let deaths = 0
const random = new Random().seed(Date.now() % 1_000_000, 1)
const made = new OrderLines({ seed: 1 })
const lines: GivenLine[] = []
const bridge = role('bridge', ['bridge', 'orders', '--input', file])
const workers = [1, 2].map((number) => role(`worker-${number}`, ['process', 'orders']))

try {
  const verdict = await crashAndProve()
  report(verdict)
  process.exitCode = isWrong(verdict) || deaths > 0 ? 1 : 0
} finally {
  isOver = true
  await Promise.all([bridge, ...workers].map((one) => one.kill()))
  await Promise.all([kafka.stop(), redis.stop()])
  if (process.exitCode === 0) rmSync(directory, { recursive: true, force: true })
  else say(`What the processes said is in ${directory}.`)
}

async function crashAndProve(): Promise<Verdict> {
  feed(ORDERS_PER_SECOND)
  bridge.start()
  for (const worker of workers) worker.start()
  const written = await Written.watch(brokers, `${APPLICATION}.${TOPICS.orders}`, PARTITIONS)
  await written.more(60_000)
  say(`Two workers are at it. For ${seconds} seconds one of them is killed (kill -9) now and then:`)
  const feeding = setInterval(() => feed((ORDERS_PER_SECOND * FEED_MS) / 1_000), FEED_MS)
  const line = (): string => {
    const running = workers.filter(({ isRunning }) => isRunning).length
    return `${lines.length} orders sent, ${written.count} committed; ${kills} kills, ${running} of 2 workers alive`
  }
  const block = new Block(process.stdout)
  const isTerminal = process.stdout.isTTY
  const show = (): void => (isTerminal ? block.draw([line()]) : say(line()))
  const showing = setInterval(show, isTerminal ? 1_000 : 5_000)
  const endsAt = performance.now() + seconds * 1_000
  while (performance.now() < endsAt) {
    await sleep(CALM_MS.least + random.unit() * (CALM_MS.most - CALM_MS.least))
    const alive = workers.filter(({ isRunning }) => isRunning)
    if (alive.length === 0) continue
    await alive[random.below(alive.length)]!.kill()
    kills++
  }
  clearInterval(feeding)
  clearInterval(showing)
  block.clear()
  say(line())
  return prove(written)
}

/** Lets the rest through, and compares every row. */
async function prove(written: Written): Promise<Verdict> {
  say('No more kills. The rest goes through, and every row is compared with what the input alone gives.')
  isOver = true
  await bridge.stop()
  isOver = false
  const last = role('bridge-last', ['bridge', 'orders', '--input', file, '--exit-when-done'])
  last.start()
  await last.ended()
  written.stop()
  const expected = expectedRows(lines, THRESHOLDS)
  const endsAt = performance.now() + DRAIN_MS
  let verdict = await verify(brokers, APPLICATION, expected)
  while (isWrong(verdict) && performance.now() < endsAt) {
    await sleep(2_000)
    verdict = await verify(brokers, APPLICATION, expected)
  }
  return verdict
}

function role(name: string, args: readonly string[]): Role {
  return new Role({
    name,
    args: [...args, '--partitions', String(PARTITIONS)],
    env: {
      ...kafka.env,
      ...redis.env,
      MILLRACE_INSTANCE: name,
      KAFKA_SESSION_TIMEOUT_MS: String(SESSION_MS),
      ORDERS_SPIKE_ABOVE: String(THRESHOLDS.spikeAbove),
      ORDERS_DROP_BELOW: String(THRESHOLDS.dropBelow),
    },
    directory,
    onEnd: restart,
  })
}

/** As whatever keeps processes running would. */
function restart(ended: Role, { code, signal, said }: End): void {
  if (code !== 0 && signal !== 'SIGKILL') {
    deaths++
    say(`${ended.name} ended by itself (${String(signal ?? code)}):\n${said}`)
  }
  if (!isOver && workers.includes(ended)) setTimeout(() => !isOver && ended.start(), 500)
}

function feed(count: number): void {
  const more = Array.from({ length: count }, () => made.next())
  lines.push(...more)
  appendFileSync(file, more.map(({ text }) => `${text}\n`).join(''))
}

function report(verdict: Verdict): void {
  say(verdictReport(verdict))
  say(
    isWrong(verdict)
      ? 'SOMETHING IS WRONG.'
      : `${kills} kills: nothing lost, nothing doubled, every window as it should be.`,
  )
}
