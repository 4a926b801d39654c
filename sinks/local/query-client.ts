import { existsSync } from 'node:fs'
import { connect } from 'node:net'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { WarehouseError, type WarehouseErrorCode } from './errors.ts'
import { runQuery, type QueryResult } from './query.ts'
import { findSocket } from './query-socket.ts'
import { Session } from './session.ts'
import { WAREHOUSE_FILE } from './warehouse.ts'

export interface WarehouseQuery {
  /** The data directory. */
  readonly directory: string
  readonly sql: string
  /** More rows are cut off, and the result says so. Default 1,000. */
  readonly maxRows?: number
  /** Default 30,000; a running process has its own limit. */
  readonly timeoutMs?: number
  /** For a process that has the file and does not answer yet, or is just letting go of it. Default 5,000. */
  readonly handoverMs?: number
}

const RETRY_MS = 100

/**
 * Answers a query about a data directory: by the process that runs on it, else by opening the file. The two give
 * the same result.
 * @throws WarehouseError NO_WAREHOUSE, NOT_A_QUERY, BAD_QUERY, QUERY_TOO_LARGE, WAREHOUSE_IN_USE, WAREHOUSE_DAMAGED
 */
export async function queryWarehouse(query: WarehouseQuery): Promise<QueryResult> {
  const { directory, sql, maxRows = 1_000, timeoutMs = 30_000, handoverMs = 5_000 } = query
  const path = join(directory, WAREHOUSE_FILE)
  const deadline = performance.now() + handoverMs
  for (;;) {
    const answer = await ask(findSocket(directory), JSON.stringify({ sql, maxRows }))
    if (answer !== null) return resultOf(answer, directory)
    if (!existsSync(path)) {
      throw new WarehouseError(
        'NO_WAREHOUSE',
        `There are no tables in ${directory} yet: run a pipeline there first (millrace run … --data-dir ${directory}).`,
      )
    }
    try {
      return await queryFile(path, sql, maxRows, timeoutMs)
    } catch (error) {
      const isHeld = error instanceof WarehouseError && error.code === 'WAREHOUSE_IN_USE'
      if (!isHeld || performance.now() >= deadline) throw error
      await sleep(RETRY_MS)
    }
  }
}

async function queryFile(
  path: string,
  sql: string,
  maxRows: number,
  timeoutMs: number,
): Promise<QueryResult> {
  const session = await Session.open({
    path,
    memoryLimitMb: 256,
    threads: 2,
    checkpointMb: 64,
    lockWaitMs: 0,
    readOnly: true,
  })
  try {
    return await session.reading((connection) => runQuery(connection, sql, { maxRows, timeoutMs }))
  } finally {
    await session.close()
  }
}

/** The answer's line, or null when nobody listens. */
function ask(path: string, request: string): Promise<string | null> {
  return new Promise((resolve, reject) => {
    const socket = connect(path)
    const chunks: Buffer[] = []
    let isConnected = false
    socket.on('connect', () => {
      isConnected = true
      socket.write(`${request}\n`)
    })
    socket.on('data', (chunk) => chunks.push(chunk))
    socket.on('error', (error) => {
      if (!isConnected) resolve(null)
      else
        reject(
          new WarehouseError('NO_ANSWER', `The running process went away: ${error.message}`, {
            cause: error,
          }),
        )
    })
    socket.on('end', () => {
      socket.end()
      resolve(Buffer.concat(chunks).toString('utf8'))
    })
  })
}

interface Answer {
  readonly result?: QueryResult
  readonly error?: { readonly code: WarehouseErrorCode; readonly message: string }
}

function resultOf(line: string, directory: string): QueryResult {
  let answer: Answer
  try {
    answer = JSON.parse(line) as Answer
  } catch (cause) {
    throw new WarehouseError(
      'NO_ANSWER',
      `The process that runs on ${directory} gave no whole answer: it may have ended meanwhile. Try again.`,
      { cause },
    )
  }
  if (answer.result !== undefined) return answer.result
  const { code = 'NO_ANSWER', message = 'The running process gave an empty answer.' } = answer.error ?? {}
  throw new WarehouseError(code, message)
}
