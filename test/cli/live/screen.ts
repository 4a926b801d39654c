import { stripVTControlCharacters } from 'node:util'

/** As much of a terminal as a view needs: it wraps, scrolls, moves up, erases below, and reflows when resized. */
export class Screen {
  readonly isTTY = true
  columns: number
  rows: number
  /** How often a line was longer than the terminal is wide. */
  wraps = 0
  readonly #listeners = new Set<() => void>()
  #written: PromiseWithResolvers<void> | null = null
  /** Scrolled out ones included; `goesOn`: it was broken, and the next row is the rest of it. */
  #lines: { text: string; goesOn: boolean }[] = [{ text: '', goesOn: false }]
  #row = 0
  #column = 0

  constructor(columns: number, rows: number) {
    this.columns = columns
    this.rows = rows
  }

  /** All rows, without the empty ones at the end. */
  get text(): string {
    return this.#lines
      .map(({ text }) => text.trimEnd())
      .join('\n')
      .trimEnd()
  }

  /** As they were written, before the terminal broke them. */
  get whole(): string[] {
    const whole: string[] = []
    let open = false
    for (const { text, goesOn } of this.#lines) {
      if (open) whole.push((whole.pop() ?? '') + text)
      else whole.push(text)
      open = goesOn
    }
    return whole
  }

  /** Resolves when something has been written. */
  written(): Promise<void> {
    return (this.#written ??= Promise.withResolvers<void>()).promise
  }

  write(text: string): void {
    this.#written?.resolve()
    this.#written = null
    for (const part of text.match(/\u001b\[[?\d;]*[A-Za-z]|[^]/g) ?? []) this.#take(part)
  }

  on(_: 'resize', listener: () => void): void {
    this.#listeners.add(listener)
  }

  off(_: 'resize', listener: () => void): void {
    this.#listeners.delete(listener)
  }

  resize(columns: number, rows: number): void {
    const { whole } = this
    this.columns = columns
    this.rows = rows
    this.#lines = whole.flatMap((line) => {
      const count = Math.max(1, Math.ceil(line.trimEnd().length / columns))
      return Array.from({ length: count }, (_, i) => ({
        text: line.slice(i * columns, (i + 1) * columns),
        goesOn: i < count - 1,
      }))
    })
    // The cursor was behind the last line, at its start.
    this.#row = this.#lines.length - 1
    this.#column = 0
    for (const listener of this.#listeners) listener()
  }

  #take(part: string): void {
    if (part === '\n') this.#down()
    else if (part === '\r') this.#column = 0
    else if (part.startsWith('\u001b')) this.#control(part)
    else if (stripVTControlCharacters(part) !== '') this.#put(part)
  }

  #control(sequence: string): void {
    const [, count, final] = /^\u001b\[\??(\d*)[\d;]*([A-Za-z])$/.exec(sequence)!
    // What has scrolled out cannot be reached.
    const top = Math.max(0, this.#lines.length - this.rows)
    if (final === 'A') this.#row = Math.max(top, this.#row - Number(count))
    else if (final === 'J') {
      this.#lines.length = this.#row + 1
      this.#lines[this.#row] = { text: this.#lines[this.#row]!.text.slice(0, this.#column), goesOn: false }
    } else if (!'mhl'.includes(final!))
      throw new Error(`the screen does not know ${JSON.stringify(sequence)}`)
  }

  #put(character: string): void {
    if (this.#column === this.columns) {
      this.wraps++
      this.#lines[this.#row]!.goesOn = true
      this.#down()
    }
    const line = this.#lines[this.#row]!
    line.text = line.text.padEnd(this.#column)
    line.text = line.text.slice(0, this.#column) + character + line.text.slice(this.#column + 1)
    this.#column++
  }

  #down(): void {
    this.#row++
    this.#column = 0
    if (this.#row === this.#lines.length) this.#lines.push({ text: '', goesOn: false })
  }
}
