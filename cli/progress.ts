/** Lines about how far a run has come: in place on a terminal, now and then in a pipe or a file. */
export interface ProgressOutput {
  /** Whether the line can be written over. */
  readonly isTTY?: boolean
  /** Terminal columns. */
  readonly columns?: number
  write(text: string): unknown
}

export interface ProgressOptions {
  readonly output: ProgressOutput
  /** The line as it is now. */
  line(): string
  /** Between two lines. Default 1,000 on a terminal, else 5,000. */
  readonly everyMs?: number
}

const CLEAR_LINE = '\r\u001b[2K'

export class Progress {
  readonly #output: ProgressOutput
  readonly #line: () => string
  readonly #timer: NodeJS.Timeout
  #shown = false
  #last = ''

  constructor({ output, line, everyMs = output.isTTY === true ? 1_000 : 5_000 }: ProgressOptions) {
    this.#output = output
    this.#line = line
    this.#timer = setInterval(() => this.#show(), everyMs)
    this.#timer.unref()
  }

  /** A line of its own, above the progress. */
  say(text: string): void {
    this.#clear()
    this.#output.write(`${text}\n`)
    if (this.#output.isTTY === true) this.#show()
  }

  stop(): void {
    clearInterval(this.#timer)
    this.#clear()
  }

  #show(): void {
    const line = this.#line()
    if (this.#output.isTTY === true) {
      const width = Math.max(20, (this.#output.columns ?? 80) - 1)
      this.#output.write(CLEAR_LINE + (line.length > width ? `${line.slice(0, width - 1)}…` : line))
      this.#shown = true
    } else if (line !== this.#last) {
      this.#output.write(`${line}\n`)
    }
    this.#last = line
  }

  #clear(): void {
    if (this.#shown) this.#output.write(CLEAR_LINE)
    this.#shown = false
  }
}
