import { stripVTControlCharacters } from 'node:util'
import type { Output } from '../io.ts'

/** Terminals that know it show a frame whole or not at all; the others pass over it. */
const SYNC = { begin: '\u001b[?2026h', end: '\u001b[?2026l' }
const CLEAR_BELOW = '\u001b[0J'

/**
 * Lines at the end of a terminal's output that are drawn over themselves. The cursor stays visible, behind them, so
 * that a process that is killed leaves nothing to mend.
 */
export class Block {
  readonly #output: Output
  #lines: readonly string[] = []

  constructor(output: Output) {
    this.#output = output
  }

  /** @param lines none wider than the terminal, and fewer than it has rows */
  draw(lines: readonly string[]): void {
    this.#output.write(SYNC.begin + this.#erasing() + lines.map((line) => `${line}\n`).join('') + SYNC.end)
    this.#lines = lines
  }

  clear(): void {
    if (this.#lines.length > 0) this.#output.write(this.#erasing())
    this.#lines = []
  }

  /**
   * A window that became narrower has broken the lines: they take more rows than they did. Rows that have left it at
   * the top are out of reach.
   */
  #erasing(): string {
    const { columns = 80, rows = 24 } = this.#output
    const taken = this.#lines.reduce((sum, line) => {
      return sum + Math.max(1, Math.ceil(stripVTControlCharacters(line).length / columns))
    }, 0)
    const up = Math.min(taken, rows - 1)
    return (up > 0 ? `\u001b[${up}A` : '') + `\r${CLEAR_BELOW}`
  }
}
