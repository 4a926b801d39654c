import { DuckDBInstance } from '@duckdb/node-api'
import assert from 'node:assert/strict'
import { spawn, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import {
  copyFileSync,
  globSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { createServer } from 'node:http'
import type { AddressInfo, Server } from 'node:net'
import { tmpdir } from 'node:os'
import { basename, delimiter, dirname, join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { gzipSync } from 'node:zlib'
import { SMTPServer, type SMTPServerDataStream } from 'smtp-server'
import { startKafka, startRedis } from '../../deploy/stack/servers.ts'
import { monthsOrSkip } from '../end-to-end/shared-data.ts'
import { ownServer } from '../support/servers.ts'

const ROOT = join(import.meta.dirname, '..', '..')
/** test/end-to-end/package.test.ts runs it word for word. */
const RUN_ELSEWHERE = ['docs/own-pipeline.md']
const LONGEST_MS = 90_000
/** What runs until somebody ends it is ended so long after its first line. */
const LIVE_MS = 2_000
const WATCHED = / watermark \S+/

interface Line {
  readonly text: string
  readonly isBehind: boolean
  /** The page shows it failing. */
  readonly fails: boolean
}

const ORDERS = Array.from({ length: 50 }, (_, i) => ({
  order_id: `o-${i}`,
  customer_id: `c-${i % 7}`,
  amount: i / 4,
  timestamp: new Date(Date.UTC(2026, 0, 1, 0, i)).toISOString(),
}))
const NDJSON = ORDERS.map((order) => `${JSON.stringify(order)}\n`).join('')

/** What the pages take for granted that their reader has. */
const INPUTS: Readonly<Record<string, (path: string) => Promise<void> | void>> = {
  'day.csv': (path) => {
    const rows = ORDERS.map((order) => `${Object.values(order).join()}\n`)
    writeFileSync(path, `${Object.keys(ORDERS[0]!).join()}\n${rows.join('')}`)
  },
  'till.log': (path) => {
    const sales = [
      '2026-11-03T08:15:00Z|till-2|r-1|12.50',
      '# closed',
      'what',
      '2026-11-03T08:20:00Z|till-2|r-2|2',
    ]
    writeFileSync(path, sales.map((line) => `${line}\n`).join(''))
  },
  'more.json': (path) => writeFileSync(path, JSON.stringify(ORDERS, null, 2)),
  'day.ndjson.gz': (path) => writeFileSync(path, gzipSync(NDJSON)),
  inbox: async (path) => {
    mkdirSync(join(path, 'deeper'), { recursive: true })
    const source = join(path, 'deeper', '_orders.ndjson')
    writeFileSync(source, NDJSON)
    const instance = await DuckDBInstance.create(':memory:')
    const connection = await instance.connect()
    await connection.run(`copy (from '${source}') to '${join(path, 'deeper', 'orders.parquet')}'`)
    connection.closeSync()
    instance.closeSync()
  },
}

const pages = ['README.md', ...globSync('docs/*.md', { cwd: ROOT })]
  .filter((page) => !RUN_ELSEWHERE.includes(page))
  .map((page) => ({ page, text: readFileSync(join(ROOT, page), 'utf8') }))
  .map(({ page, text }) => ({ page, text, lines: linesOf(text) }))
  .filter(({ lines }) => lines.length > 0)

/** The commands of a page in its order, as typed in its directory. */
function linesOf(text: string): Line[] {
  const blocks = [...text.matchAll(/^```(\w*)\n([\s\S]*?)^```$|(?:^ {4}.*\n(?:\n(?= {4}))?)+/gm)]
  return blocks
    .filter(([, language]) => ['', 'sh', 'bash', 'console', 'text'].includes(language ?? ''))
    .map(([indented, , fenced]) => fenced ?? indented.replaceAll(/^ {4}/gm, ''))
    .filter((block) => !/^\s*npm (?:ci && npm pack|install)/m.test(block))
    .flatMap((block) => {
      const all = block.replaceAll('\\\n', ' ').split('\n')
      return all.flatMap((line, i): Line[] => {
        const command = line
          .replace(/^\$ /, '')
          .replace(/\s+#.*$/, '')
          .trim()
        if (
          !/^(?:export [A-Z_]+=|eval "|(?:\w+=\S+ )*npx millrace |zcat .* \| npx millrace |node -e )/.test(
            command,
          )
        )
          return []
        return [
          {
            text: command.replace(/ &$/, ''),
            isBehind: command.endsWith(' &'),
            fails: (all[i + 1] ?? '').startsWith('error '),
          },
        ]
      })
    })
}

function isLive({ text }: Line): boolean {
  return / (?:run|bridge|process|sink) ?| --watch/.test(text) && !/--exit-when-done|--help/.test(text)
}

describe('the commands of the documentation', function () {
  this.timeout(600_000)
  let cwd: string
  let env: Record<string, string>
  let servers: { stop(): Promise<void> }[]
  let behind: ChildProcess[]

  beforeEach(() => {
    cwd = mkdtempSync(join(tmpdir(), 'millrace-docs-'))
    mkdirSync(join(cwd, 'node_modules', '.bin'), { recursive: true })
    symlinkSync(ROOT, join(cwd, 'node_modules', 'millrace'))
    symlinkSync(join(ROOT, 'cli', 'millrace.js'), join(cwd, 'node_modules', '.bin', 'millrace'))
    const own = Object.entries(process.env).filter(([key]) => !/^(npm_|MILLRACE_|KAFKA_|REDIS_)/i.test(key))
    const PATH = [dirname(process.execPath), process.env['PATH']].join(delimiter)
    env = { ...(Object.fromEntries(own) as Record<string, string>), PATH, NO_COLOR: '1' }
    servers = []
    behind = []
  })
  afterEach(async () => {
    for (const child of behind) await ended(child, 'SIGINT')
    for (const server of servers) await server.stop()
    rmSync(cwd, { recursive: true, force: true })
  })

  function start(text: string): ChildProcess {
    return spawn('bash', ['-c', `exec ${text}`.replace(/^exec ((?:\w+=\S+ )+)/, 'env $1')], {
      cwd,
      env,
      detached: true,
      stdio: ['ignore', 'pipe', 'pipe'],
    })
  }

  async function ended(child: ChildProcess, signal: NodeJS.Signals): Promise<void> {
    if (child.exitCode !== null || child.signalCode !== null) return
    const exited = once(child, 'exit')
    process.kill(-child.pid!, signal)
    const timer = setTimeout(() => process.kill(-child.pid!, 'SIGKILL'), LONGEST_MS)
    await exited
    clearTimeout(timer)
  }

  async function run(line: Line): Promise<void> {
    const child = start(line.text)
    let said = ''
    const keep = (text: Buffer): void => void (said += text.toString())
    child.stdout!.on('data', keep)
    child.stderr!.on('data', keep)
    if (line.isBehind) {
      behind.push(child)
      return
    }
    const closed = once(child, 'close') as Promise<[number | null]>
    const timer = setTimeout(() => process.kill(-child.pid!, 'SIGKILL'), LONGEST_MS)
    if (isLive(line)) {
      await Promise.race([once(child.stdout!, 'data'), closed])
      await sleep(LIVE_MS)
      const isWatch = line.text.includes('--watch')
      while (isWatch && !WATCHED.test(said) && child.exitCode === null && child.signalCode === null)
        await sleep(100)
      await ended(child, 'SIGINT')
      clearTimeout(timer)
      // npx itself ends by the signal.
      assert.match(said, isWatch ? WATCHED : /^Stopped after /m, `${line.text}\n${said}`)
      return
    }
    const [code] = await closed
    clearTimeout(timer)
    if (line.fails) assert.notEqual(code, 0, `${line.text}\n${said}`)
    else assert.equal(code, 0, `${line.text}\n${said}`)
  }

  /** Those that the page says how to start, or to name. */
  async function startServers(context: Mocha.Context): Promise<void> {
    const kafka = await ownServer(context, () => startKafka())
    servers.push(kafka)
    const redis = await ownServer(context, () => startRedis())
    servers.push(redis)
    env = { ...env, ...kafka.env, ...redis.env }
  }

  /** Local servers instead of those that a page makes up. */
  async function standIns(): Promise<Record<string, string>> {
    const web = createServer((request, response) => {
      request.resume().on('end', () => response.end())
    })
    const mail = new SMTPServer({ authOptional: true, disabledCommands: ['STARTTLS'], onData: takeMail })
    web.listen(0, '127.0.0.1')
    const listening = mail.listen(0, '127.0.0.1')
    await Promise.all([once(web, 'listening'), once(listening, 'listening')])
    servers.push({ stop: () => closed(web) }, { stop: () => closed(mail) })
    const portOf = (server: Server): number => (server.address() as AddressInfo).port
    return {
      ALERT_WEBHOOK_URL: `http://127.0.0.1:${portOf(web)}/`,
      SMTP_URL: `smtp://127.0.0.1:${portOf(listening)}`,
    }
  }

  /** What a page's lines name that is not made by one of them. */
  async function bring(context: Mocha.Context, lines: readonly Line[]): Promise<void> {
    for (const [name, make] of Object.entries(INPUTS)) {
      const isWanted = lines.some(({ text }) => text.includes(name) && !text.includes(`--out ${name}`))
      if (isWanted) await make(join(cwd, name))
    }
    const wanted = new Set(lines.flatMap(({ text }) => text.match(/\d{4}-\d{2}\.csv\.gz/g) ?? []))
    if (wanted.size === 0) return
    for (const path of monthsOrSkip(context)) {
      if (wanted.has(basename(path))) copyFileSync(path, join(cwd, basename(path)))
    }
  }

  for (const { page, text, lines } of pages) {
    it(`of ${page} work, in their order`, async function () {
      await bring(this, lines)
      for (const [, name, code] of text.matchAll(/^```ts\n\/\/ (\S+\.ts)\n([\s\S]*?)^```$/gm)) {
        writeFileSync(join(cwd, name!), code!)
      }
      for (const line of lines) {
        if (/^eval |^export KAFKA_BROKERS=/.test(line.text)) {
          if (!('KAFKA_BROKERS' in env)) await startServers(this)
        } else if (line.text.startsWith('export ')) {
          const stands = await standIns()
          for (const [, name, value] of line.text.matchAll(/(\w+)=(\S+)/g))
            env[name!] = stands[name!] ?? value!
        } else {
          await run({ ...line, text: line.text.replaceAll(/\bDIR\b/g, 'millrace-data') })
        }
      }
    })
  }
})

function takeMail(stream: SMTPServerDataStream, _session: unknown, done: () => void): void {
  stream.resume().on('end', done)
}

function closed(server: { close(done: () => void): unknown }): Promise<void> {
  return new Promise((resolve) => server.close(() => resolve()))
}
