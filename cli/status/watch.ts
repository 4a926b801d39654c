/** Looks at the status again and again: a view that is drawn in place, a line a look in a pipe, or JSON. */
import { setTimeout as sleep } from 'node:timers/promises'
import type { Clock } from '../../config/clock.ts'
import type { Io } from '../io.ts'
import { Block } from '../live/block.ts'
import { canRedraw, coloursFor, wantsColours } from '../live/colours.ts'
import { timeOf } from '../live/words.ts'
import { statusFrame, statusLine } from './frame.ts'
import type { Status } from './status.ts'

export interface WatchOptions {
  readonly io: Io
  readonly clock: Clock
  /** One object a line, for programs. */
  readonly json: boolean
  /** Between two looks. Default 2,000. */
  readonly everyMs?: number
}

interface Seen {
  readonly status: Status
  readonly time: string
}

export class Watch {
  readonly #options: WatchOptions
  readonly #way: 'view' | 'lines' | 'json'
  readonly #block: Block
  #last: Seen | null = null
  #problem: string | null = null

  constructor(options: WatchOptions) {
    const { io, json } = options
    this.#options = options
    this.#way = json ? 'json' : canRedraw(io.stdout, io.env) ? 'view' : 'lines'
    this.#block = new Block(io.stdout)
  }

  /** What a person should know, in a line of its own above the view. */
  notice(message: string): void {
    this.#block.clear()
    this.#options.io.stderr.write(`${message}\n`)
    this.#draw()
  }

  /**
   * Until the signal aborts; the last view stays. What fails at a later look is said, and tried again: a server that
   * is away, a directory whose run has just begun.
   * @throws what the first look fails with, and what is a fault of ours
   */
  async run(look: () => Promise<Status>, signal: AbortSignal): Promise<void> {
    const { io, clock, everyMs = 2_000 } = this.#options
    const redraw = (): void => this.#draw()
    const hasEnded = (): boolean => signal.aborted
    if (this.#way === 'view') io.stdout.on?.('resize', redraw)
    try {
      while (!hasEnded()) {
        try {
          const status = await look()
          this.#seen({ status, time: new Date(clock.nowMs()).toISOString() })
        } catch (error) {
          if (hasEnded()) return
          if (this.#last === null || !isExpected(error)) throw error
          this.#failed(error)
        }
        await sleep(everyMs, undefined, { signal }).catch(() => undefined)
      }
    } finally {
      io.stdout.off?.('resize', redraw)
    }
  }

  #seen(seen: Seen): void {
    this.#last = seen
    this.#problem = null
    const { status, time } = seen
    if (this.#way === 'json') this.#print({ time, ...status })
    else if (this.#way === 'lines') this.#write(`${timeOf(Date.parse(time))} ${statusLine(status)}`)
    else this.#draw()
  }

  #failed(error: Error & { readonly code: string }): void {
    const nowMs = this.#options.clock.nowMs()
    const { code, message } = error
    this.#problem = `${code}: ${message}`.replaceAll(/\s+/g, ' ')
    if (this.#way === 'json') this.#print({ time: new Date(nowMs).toISOString(), error: { code, message } })
    else if (this.#way === 'lines') this.#write(`${timeOf(nowMs)} ! ${this.#problem}`)
    else this.#draw()
  }

  #draw(): void {
    if (this.#last === null || this.#way !== 'view') return
    const { io } = this.#options
    const { columns = 80, rows = 24 } = io.stdout
    const { status, time } = this.#last
    this.#block.draw(
      statusFrame(status, {
        time: timeOf(Date.parse(time)),
        problem: this.#problem,
        columns,
        rows,
        colours: coloursFor(wantsColours(io.stdout, io.env)),
      }),
    )
  }

  #write(line: string): void {
    this.#options.io.stdout.write(`${line}\n`)
  }

  #print(object: object): void {
    this.#write(JSON.stringify(object))
  }
}

function isExpected(error: unknown): error is Error & { readonly code: string } {
  if (error instanceof TypeError || error instanceof RangeError) return false
  return error instanceof Error && 'code' in error && typeof error.code === 'string'
}
