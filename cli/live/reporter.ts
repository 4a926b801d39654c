/** What a running role says, and how: a view that is drawn in place, lines for a pipe, or JSON for programs. */
import type { Clock } from '../../config/clock.ts'
import type { Io, Output } from '../io.ts'
import type { Role } from '../wire/run.ts'
import { Block } from './block.ts'
import { canRedraw, coloursFor, wantsColours } from './colours.ts'
import type { RunFigures } from './figures.ts'
import { frameOf } from './frame.ts'
import { jsonOf } from './json.ts'
import { lineOf } from './line.ts'
import { ProgressMeter, type Progress } from './progress.ts'

export interface ReporterOptions {
  readonly io: Io
  readonly clock: Clock
  readonly application: string
  readonly roles: readonly Role[]
  /** Whether the run ends with what there is. */
  readonly isFinite: boolean
  /** One object a line, for programs. */
  readonly json: boolean
  /** Between two looks. Default: 500 for a view, 1,000 for JSON, 5,000 for lines. */
  readonly everyMs?: number
}

type Way = 'view' | 'lines' | 'json'

const EVERY_MS: Readonly<Record<Way, number>> = { view: 500, lines: 5_000, json: 1_000 }
/** A window that is being drawn larger says so many times a second. */
const RESIZE_MS = 50

export class Reporter {
  readonly #options: ReporterOptions
  readonly #way: Way
  readonly #block: Block
  readonly #meter: ProgressMeter
  #look: (() => RunFigures) | null = null
  #timer: NodeJS.Timeout | null = null
  #resizeTimer: NodeJS.Timeout | null = null
  #last: Progress | null = null
  #unhook: (() => void) | null = null
  #isAside = false
  #lastLine = ''

  constructor(options: ReporterOptions) {
    const { io, clock, roles, isFinite, json } = options
    this.#options = options
    this.#way = json ? 'json' : canRedraw(io.stdout, io.env) ? 'view' : 'lines'
    this.#block = new Block(io.stdout)
    this.#meter = new ProgressMeter(roles, isFinite, clock.nowMs())
  }

  /** What a person should know, in a line of its own. */
  notice(message: string): void {
    if (this.#way === 'json') this.#print({ type: 'notice', message })
    else if (this.#look === null) this.#options.io.stderr.write(`${message}\n`)
    else this.#above(() => this.#options.io.stdout.write(`${message}\n`))
  }

  /** Lines for standard error, ended by a newline: the log's, say. */
  error(text: string): void {
    this.#above(() => this.#options.io.stderr.write(text))
  }

  /** Says what the run is bound to, and from then on how it is getting on. */
  begin(bindings: string, look: () => RunFigures): void {
    const { application, roles, io } = this.#options
    if (this.#way === 'json') this.#print({ type: 'start', application, roles, bindings })
    else io.stdout.write(`${bindings}\n`)
    this.#look = look
    // What is changed by is counted from here.
    this.#meter.look(look(), this.#options.clock.nowMs())
    this.#timer = setInterval(() => this.#show(), this.#options.everyMs ?? EVERY_MS[this.#way])
    this.#timer.unref()
    if (this.#way !== 'view') return
    io.stdout.on?.('resize', this.#resized)
    this.#unhook = this.#hook(io.stderr)
    this.#show()
  }

  /** The view goes; with JSON the last figures come. @returns whether a summary for people may follow */
  end(outcome: 'drained' | 'stopped' | 'failed'): boolean {
    if (this.#timer !== null) clearInterval(this.#timer)
    if (this.#resizeTimer !== null) clearTimeout(this.#resizeTimer)
    this.#options.io.stdout.off?.('resize', this.#resized)
    this.#unhook?.()
    this.#unhook = null
    this.#block.clear()
    const look = this.#look
    this.#look = null
    if (this.#way === 'json' && look !== null) {
      this.#print({ type: 'end', outcome, ...jsonOf(this.#meter.look(look(), this.#options.clock.nowMs())) })
    }
    return this.#way !== 'json'
  }

  readonly #resized = (): void => {
    this.#resizeTimer ??= setTimeout(() => {
      this.#resizeTimer = null
      this.#draw()
    }, RESIZE_MS).unref()
  }

  #show(): void {
    if (this.#look === null) return
    this.#last = this.#meter.look(this.#look(), this.#options.clock.nowMs())
    if (this.#way === 'view') this.#draw()
    else if (this.#way === 'json') this.#print({ type: 'progress', ...jsonOf(this.#last) })
    else this.#line(lineOf(this.#last))
  }

  /** Nothing twice: a log that stands still should not grow. */
  #line(line: string): void {
    if (line !== this.#lastLine) this.#options.io.stdout.write(`${line}\n`)
    this.#lastLine = line
  }

  #draw(): void {
    if (this.#last === null) return
    const { application, roles, io } = this.#options
    const { columns = 80, rows = 24 } = io.stdout
    this.#block.draw(
      frameOf(this.#last, {
        title: `${application} · ${roles.length === 1 ? roles[0]! : 'run'}`,
        columns,
        rows,
        colours: coloursFor(wantsColours(io.stdout, io.env)),
      }),
    )
  }

  /** Other words make the view step aside, so that neither garbles the other. */
  #above(write: () => void): void {
    if (this.#isAside || this.#way !== 'view' || this.#look === null) {
      write()
      return
    }
    this.#isAside = true
    try {
      this.#block.clear()
      write()
      this.#draw()
    } finally {
      this.#isAside = false
    }
  }

  /** What Node and libraries say on the same terminal goes above the view too. */
  #hook(stderr: Output): (() => void) | null {
    if (stderr.isTTY !== true) return null
    const write = stderr.write.bind(stderr)
    stderr.write = (text) => {
      this.#above(() => write(text))
      return true
    }
    return () => (stderr.write = write)
  }

  #print(object: Record<string, unknown>): void {
    const { type, ...rest } = object
    const time = new Date(this.#options.clock.nowMs()).toISOString()
    this.#options.io.stdout.write(`${JSON.stringify({ type, time, ...rest })}\n`)
  }
}
