import { appendFileSync, mkdirSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { Random } from '../../bridge/generator/random.ts'
import { expectedRows, TOPICS } from './expected.ts'
import { faultsOn, type Fault, type Target } from './faults.ts'
import { OrderLines, type GivenLine } from './input.ts'
import { LAST_WORDS } from './last-words.ts'
import { Role, type End } from './role.ts'
import { startStack, type Stack, type StackOptions } from './stack.ts'
import { standstill } from './standstill.ts'
import { isWrong, verify, type Verdict } from './verify.ts'
import { Written } from './written.ts'

const APPLICATION = 'orders'
const THRESHOLDS = { spikeAbove: 90, dropBelow: 5 }
const PARTITIONS = 4
/** How soon the others notice that a process is dead. */
const SESSION_MS = 4_000
const FEED_MS = 250
/** Faults come in bursts of so many at most, in this time, and then there is calm for a while. */
const BURST = { most: 6, ms: 4_000 }
const MOST_CALM_MS = 4_000
/** Time-outs of sessions and transactions pass meanwhile; without a commit for longer something is wrong. */
const RECOVERY_MS = 120_000
/** How often a step may be done by a worker before it dies there. */
const MOST_STEPS = { open: 2, commit: 6 }
/** Of the workers that start in the storm: so many die at a step, if nothing else ends them before. */
const ARMED_SHARE = 0.8
/** Without anything new in the topics for so long, nothing more will come. */
const SILENCE_MS = 90_000
const DRAIN_POLL_MS = 4_000
/** The last bridge may start while brokers are still coming back. */
const LAST_TRIES = 5
const LAST_MS = 120_000

const STEPS = [1, 2, 3, 4, 5, 6].flatMap((n) => [`commit.${n}`, `open.${n}`])

export interface StageOptions extends StackOptions {
  readonly name: string
  /** SIGKILLs of processes until it ends; other faults come beside them. */
  readonly kills: number
  readonly workers: number
  readonly linesPerSecond: number
  readonly seed: number
  /** Made for it; kept when something is wrong. */
  readonly directory: string
  /** Told what happens. */
  readonly say: (line: string) => void
}

export interface StageResult {
  readonly name: string
  /** How often, by what was done. */
  readonly faults: ReadonlyMap<string, number>
  readonly kills: number
  /** Ends that nobody asked for, with what the process said last. */
  readonly failures: readonly string[]
  /** That were fed in. */
  readonly lines: number
  /** Orders that came out while there were faults. */
  readonly writtenInStorm: number
  readonly verdict: Verdict
}

/** Feeds orders in, breaks things meanwhile, lets it drain, and compares. */
export async function runStage(options: StageOptions): Promise<StageResult> {
  mkdirSync(options.directory, { recursive: true })
  const stack = await startStack(options)
  const stage = new Stage(options, stack)
  try {
    const result = await stage.run()
    if (!isWrong(result.verdict) && result.failures.length === 0) {
      rmSync(options.directory, { recursive: true, force: true })
    }
    return result
  } finally {
    await stage.stop()
    await stack.stop()
  }
}

class Stage {
  readonly #options: StageOptions
  readonly #stack: Stack
  readonly #random: Random
  readonly #made: OrderLines
  readonly #lines: GivenLine[] = []
  readonly #file: string
  readonly #bridge: Role
  readonly #workers: Role[]
  readonly #faults = new Map<string, number>()
  /** With how often each occurred, but for numbers in its text. */
  readonly #failures = new Map<string, { text: string; count: number }>()
  #kills = 0
  /** Those that workers are to die at next, again and again in turn. */
  readonly #steps = [...STEPS]
  readonly #armed = new Map<Role, string>()
  /** Faults under way, by what they work on. */
  readonly #busy = new Map<string, Promise<void>>()
  /** Whether workers die at steps, and whoever ends is started again. */
  #isStormy = true
  #isOver = false

  constructor(options: StageOptions, stack: Stack) {
    const { seed, directory, workers } = options
    this.#options = options
    this.#stack = stack
    this.#random = new Random().seed(seed, 1)
    this.#made = new OrderLines({ seed })
    this.#file = join(directory, 'orders.ndjson')
    this.#bridge = this.#role('bridge', ['bridge', 'orders', '--input', this.#file])
    this.#workers = Array.from({ length: workers }, (_, i) =>
      this.#role(`worker-${i + 1}`, ['process', 'orders']),
    )
  }

  async run(): Promise<StageResult> {
    const { name, say } = this.#options
    writeFileSync(this.#file, '')
    this.#feed(200)
    const topic = `${APPLICATION}.${TOPICS.orders}`
    const written = await Written.watch(this.#stack.brokers, topic, PARTITIONS)
    const feeding = setInterval(() => this.#feed((this.#options.linesPerSecond * FEED_MS) / 1_000), FEED_MS)
    try {
      this.#startBridge()
      for (const worker of this.#workers) this.#startWorker(worker)
      await this.#storm(written)
    } finally {
      clearInterval(feeding)
      written.stop()
    }
    say(`${name}: ${this.#kills} kills; ${this.#lines.length} lines were fed in; no more faults, it drains`)
    const verdict = await this.#drain()
    return {
      name,
      faults: this.#faults,
      kills: this.#kills,
      failures: [...this.#failures.values()].map(({ text, count }) =>
        count === 1 ? text : `${count} times: ${text}`,
      ),
      lines: this.#lines.length,
      writtenInStorm: written.count,
      verdict,
    }
  }

  /** Ends whatever still runs. */
  async stop(): Promise<void> {
    this.#isOver = true
    await Promise.all([this.#bridge, ...this.#workers].map((role) => role.kill()))
  }

  #role(name: string, args: readonly string[]): Role {
    const { directory } = this.#options
    return new Role({
      name,
      args: [...args, '--partitions', String(PARTITIONS)],
      env: {
        ...this.#stack.env,
        ORDERS_SPIKE_ABOVE: String(THRESHOLDS.spikeAbove),
        ORDERS_DROP_BELOW: String(THRESHOLDS.dropBelow),
        // Shorter than some of the faults last.
        ORDERS_STALLED_AFTER: '1s',
        MILLRACE_INSTANCE: name,
        KAFKA_SESSION_TIMEOUT_MS: String(SESSION_MS),
      },
      directory,
      onEnd: (role, end) => this.#ended(role, end),
    })
  }

  #feed(count: number): void {
    const lines = Array.from({ length: count }, () => this.#made.next())
    this.#lines.push(...lines)
    appendFileSync(this.#file, lines.map(({ text }) => `${text}\n`).join(''))
  }

  /** Bursts of faults with some work in between, until enough processes were killed. */
  async #storm(written: Written): Promise<void> {
    const { kills, say, name } = this.#options
    const all = faultsOn(this.#stack)
    const over = new AbortController()
    const target: Target = {
      stack: this.#stack,
      workers: this.#workers,
      bridge: this.#bridge,
      random: this.#random,
      signal: over.signal,
    }
    while (this.#kills < kills) {
      // Faults of a system that does nothing would prove nothing.
      await written.more(RECOVERY_MS).catch((error: unknown) => this.#standstill(error as Error))
      await sleep(this.#random.unit() * MOST_CALM_MS)
      for (let left = 1 + this.#random.below(BURST.most); left > 0; left--) {
        const free = all.filter(({ resource }) => !this.#busy.has(resource))
        if (free.length === 0) break
        const fault = this.#pick(free)
        const done = this.#inject(fault, target).finally(() => this.#busy.delete(fault.resource))
        this.#busy.set(fault.resource, done)
        await sleep((this.#random.unit() * BURST.ms) / BURST.most)
      }
      say(
        `${name}: ${this.#kills} of ${kills} kills, ${written.count} of ${this.#lines.length} orders written`,
      )
    }
    this.#isStormy = false
    over.abort()
    await Promise.all(this.#busy.values())
  }

  /** @throws Error always, with all that can be seen */
  async #standstill({ message }: Error): Promise<never> {
    const topics = Object.values(TOPICS).map((name) => `${APPLICATION}.${name}`)
    const seen = await standstill(this.#stack, topics, [this.#bridge, ...this.#workers])
    throw new Error(`${message}; faults under way: ${[...this.#busy.keys()].join() || 'none'}\n${seen}`)
  }

  async #inject(fault: Fault, target: Target): Promise<void> {
    try {
      if (!(await fault.inject(target))) return
      this.#count(fault.name)
      if (fault.isKill) this.#kills++
    } catch (error) {
      this.#fail(`${fault.name}: ${(error as Error).message}`)
    }
  }

  /** The rest of the file, its end mark, and everything that follows from it. */
  async #drain(): Promise<Verdict> {
    const { brokers } = this.#stack
    await this.#bridge.stop()
    const last = this.#role('bridge-last', ['bridge', 'orders', '--input', this.#file, '--exit-when-done'])
    for (const worker of this.#workers) this.#startWorker(worker)
    for (let tries = 0; tries < LAST_TRIES; tries++) {
      last.start()
      const tooLong = setTimeout(() => {
        this.#fail(`${last.name} did not end within ${LAST_MS / 1_000} s`)
        void last.kill()
      }, LAST_MS)
      const { code } = await last.ended()
      clearTimeout(tooLong)
      if (code === 0) break
      await sleep(DRAIN_POLL_MS)
    }
    const expected = expectedRows(this.#lines, THRESHOLDS)
    let verdict = await verify(brokers, APPLICATION, expected)
    let found = -1
    let changed = performance.now()
    while (isWrong(verdict) && performance.now() - changed < SILENCE_MS) {
      const now = verdict.topics.reduce((total, topic) => total + topic.found, 0)
      if (now !== found) changed = performance.now()
      found = now
      await sleep(DRAIN_POLL_MS)
      verdict = await verify(brokers, APPLICATION, expected)
    }
    // What the workers still hold back would come with their last commit.
    this.#isOver = true
    await Promise.all(this.#workers.map((worker) => worker.stop()))
    return verify(brokers, APPLICATION, expected)
  }

  #ended(role: Role, { code, signal, hasBegun, said }: End): void {
    const step = signal === 'SIGKILL' ? new RegExp(`${LAST_WORDS}(\\S+)\\n$`).exec(said)?.[1] : undefined
    this.#disarm(role, step !== undefined)
    if (step !== undefined) {
      this.#kills++
      this.#count(`worker killed behind ${step}`)
    } else if (!hasBegun && !role.isAskedToEnd) {
      // Nothing is promised to who starts while a server is away, but that it says so.
      this.#count(`${role.name.replace(/-.*/, '')} did not start meanwhile`)
    } else if (hasBegun && code !== 0 && !(role.isAskedToEnd && signal === 'SIGKILL')) {
      const how = role.isAskedToEnd ? 'was asked to end, and failed' : 'ended by itself'
      this.#fail(`${role.name} ${how} (${String(signal ?? code)}):\n${said.trim()}`)
    }
    if (this.#isOver || role.name === 'bridge-last') return
    if (role !== this.#bridge) setTimeout(() => this.#startWorker(role), this.#random.unit() * 1_000)
    else setTimeout(() => this.#startBridge(), this.#random.unit() * 1_000)
  }

  /** Not once it drains: with another one beside it the last bridge would only stand by. */
  #startBridge(): void {
    if (this.#isStormy && !this.#isOver && !this.#bridge.isRunning) this.#bridge.start()
  }

  #startWorker(worker: Role): void {
    if (this.#isOver || worker.isRunning) return
    worker.start(this.#isStormy && this.#random.unit() < ARMED_SHARE ? this.#arm(worker) : null)
  }

  /** The next step in turn, and how often it is to be done first. */
  #arm(worker: Role): string {
    const step = this.#steps.shift()!
    this.#armed.set(worker, step)
    const most = step.startsWith('open') ? MOST_STEPS.open : MOST_STEPS.commit
    return `${step}:${1 + this.#random.below(most)}`
  }

  /** A step that was reached goes to the end of the turn, another one stays at its front. */
  #disarm(worker: Role, reached: boolean): void {
    const step = this.#armed.get(worker)
    if (step === undefined) return
    this.#armed.delete(worker)
    if (reached) this.#steps.push(step)
    else this.#steps.unshift(step)
  }

  #pick(faults: readonly Fault[]): Fault {
    const total = faults.reduce((sum, { weight }) => sum + weight, 0)
    let left = this.#random.unit() * total
    return faults.find(({ weight }) => (left -= weight) < 0) ?? faults[0]!
  }

  #fail(text: string): void {
    const kind = text.replaceAll(/\d+/g, '#')
    const known = this.#failures.get(kind)
    if (known === undefined) this.#failures.set(kind, { text, count: 1 })
    else known.count++
  }

  #count(name: string): void {
    this.#faults.set(name, (this.#faults.get(name) ?? 0) + 1)
  }
}
