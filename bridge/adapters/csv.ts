import { parse, type CsvError } from 'csv-parse/sync'
import { castText } from '../../schemas/check.ts'
import type { FieldDefinition } from '../../schemas/fields.ts'
import { checkColumns } from './columns.ts'
import {
  isRefused,
  type ParserOptions,
  type ParserOutput,
  type TextFormat,
  type TextParser,
} from './format.ts'

const NEWLINE = 10
const QUOTE = 34
/** The last byte of a byte order mark. */
const END_OF_MARK = 0xbf
const DELIMITERS = [',', ';', '\t', '|']

/** Rows under a header, whose names are the contract's fields. */
export const csv: TextFormat = {
  kind: 'text',
  name: 'csv',
  description: 'rows under a header that names the fields',
  parser: (output, options) => new CsvParser(output, options),
}

/** What was learned from the header; stored, so that a later run needs no second look at it. */
interface Header {
  readonly delimiter: string
  readonly columns: readonly string[]
}

class CsvParser implements TextParser {
  readonly pendingStart = -1
  readonly spansLines = true
  readonly #output: ParserOutput
  readonly #options: ParserOptions
  #header: Header | null
  #row: RowReader | null = null

  /** Whether the row at hand is within quotes, as far as it was searched. */
  #inQuotes = false
  /** Whether the row at hand is to end with its line, its quote not being closed. */
  #cut = false
  /** File position of the next quote, or -1, and up to which there is none. */
  #nextQuote = -1
  #unquotedTo = 0
  /** File position of the quote that closed a value last: another one behind it opens the same value again. */
  #closedAt = -1

  constructor(output: ParserOutput, options: ParserOptions) {
    this.#output = output
    this.#options = options
    this.#header = options.state === null ? null : (JSON.parse(options.state) as Header)
    if (this.#header !== null) this.#row = new RowReader(this.#header, options.fields)
  }

  get state(): string | null {
    return this.#header === null ? null : JSON.stringify(this.#header)
  }

  endOf(bytes: Buffer, from: number, base: number): number {
    if (this.#cut) return bytes.indexOf(NEWLINE, from)
    for (let at = from; ;) {
      if (this.#inQuotes) {
        const close = bytes.indexOf(QUOTE, at)
        if (close < 0) return -1
        this.#inQuotes = false
        this.#closedAt = base + close
        at = close + 1
      }
      const newline = bytes.indexOf(NEWLINE, at)
      const quote = this.#quoteFrom(bytes, at, base)
      if (quote < 0 || (newline >= 0 && newline < quote)) return newline
      this.#inQuotes = this.#opens(bytes, quote, base)
      at = quote + 1
    }
  }

  record(text: string, start: number, end: number, problem: string | null): void {
    const isCut = this.#cut
    this.#cut = false
    if (this.#row === null) {
      this.#takeHeader(text)
      return
    }
    if (isRefused(this.#output, this.#options.maxRecordBytes, start, end, problem)) return
    const row = this.#row.read(text)
    if (isCut || 'refusal' in row) this.#refuse(row, start, end)
    else this.#output.value(row.value, start, end)
  }

  cutShort(): boolean {
    if (!this.#inQuotes || this.#cut) return false
    this.#inQuotes = false
    this.#cut = true
    this.#nextQuote = -1
    this.#unquotedTo = 0
    return true
  }

  finish(): void {}

  /** A last row without a newline may go on while somebody writes: `12` can be the beginning of `123`. */
  finishWithin(text: string, start: number, end: number, isFinal: boolean): boolean {
    if (!isFinal || end - start > this.#options.maxRecordBytes) return false
    if (this.#row === null) {
      this.#takeHeader(text)
      return true
    }
    const row = this.#row.read(text)
    // It may have lost its end; with all its columns nothing says so.
    if ('refusal' in row) return false
    this.#output.value(row.value, start, end)
    return true
  }

  #refuse(row: Row, start: number, end: number): void {
    const { reason, field } = 'refusal' in row ? row.refusal : { reason: QUOTE_NOT_CLOSED, field: null }
    this.#output.reject(reason, field, start, end)
  }

  #takeHeader(text: string): void {
    const { fields, path, delimiter } = this.#options
    const header = readHeader(text, fields, delimiter)
    checkColumns(path, header.columns, fields)
    this.#header = header
    this.#row = new RowReader(header, fields)
  }

  /** The index of the next quote, or -1; a file without any is searched once. */
  #quoteFrom(bytes: Buffer, from: number, base: number): number {
    if (this.#nextQuote < base + from) {
      const search = Math.max(from, this.#unquotedTo - base)
      const found = bytes.indexOf(QUOTE, search)
      this.#nextQuote = found < 0 ? -1 : base + found
      this.#unquotedTo = base + (found < 0 ? bytes.length : found)
    }
    return this.#nextQuote < 0 ? -1 : this.#nextQuote - base
  }

  /** A quote within a value that does not begin with one is part of it, and swallows no newline. */
  #opens(bytes: Buffer, quote: number, base: number): boolean {
    if (quote === 0 || base + quote - 1 === this.#closedAt) return true
    const before = bytes[quote - 1]!
    if (before === NEWLINE) return true
    if (this.#header !== null) return before === this.#header.delimiter.charCodeAt(0)
    return before === END_OF_MARK || DELIMITERS.includes(String.fromCharCode(before))
  }
}

interface Refusal {
  readonly reason: string
  readonly field: string | null
}

type Row = { readonly value: Record<string, unknown> } | { readonly refusal: Refusal }

/** Makes objects of rows, by the header's names and the contract's types. */
class RowReader {
  readonly #header: Header
  /** null: the contract has no such field. */
  readonly #kinds: readonly (FieldDefinition['kind'] | null)[]
  /** A quoted value or a plain one, and what ends it. */
  readonly #pattern: RegExp

  constructor(header: Header, fields: readonly FieldDefinition[]) {
    this.#header = header
    const other = fields.length === 0 ? 'string' : null
    this.#kinds = header.columns.map((name) => fields.find((field) => field.name === name)?.kind ?? other)
    const delimiter = header.delimiter.replace(/[\\^$.*+?()[\]{}|]/g, String.raw`\$&`)
    this.#pattern = new RegExp(`(?:"([^"]*(?:""[^"]*)*)"|([^"${delimiter}]*))(${delimiter}|$)`, 'y')
  }

  read(text: string): Row {
    const { delimiter, columns } = this.#header
    const values = text.includes('"') ? this.#quoted(text) : text.split(delimiter)
    if (!Array.isArray(values)) return { refusal: values }
    if (values.length !== columns.length) {
      const reason = `${values.length} ${values.length === 1 ? 'column' : 'columns'} where the header has ${columns.length}`
      return { refusal: { reason, field: columns[values.length] ?? null } }
    }
    const value: Record<string, unknown> = {}
    for (let i = 0; i < values.length; i++) {
      const kind = this.#kinds[i] ?? null
      // Nothing between two delimiters is no value: null where the field is optional, else missing.
      if (kind !== null && values[i] !== '') value[columns[i]!] = castText(kind, values[i]!)
    }
    return { value }
  }

  #quoted(text: string): string[] | Refusal {
    const values: string[] = []
    const pattern = this.#pattern
    pattern.lastIndex = 0
    for (;;) {
      const match = pattern.exec(text)
      // csv-parse costs much for a single row: it judges those alone that are not plain.
      if (match === null) return this.#judged(text)
      values.push(match[1]?.replaceAll('""', '"') ?? match[2]!)
      if (match[3] === '') return values
    }
  }

  #judged(text: string): string[] | Refusal {
    const { delimiter, columns } = this.#header
    try {
      return parse(text, { delimiter, relax_column_count: true, record_delimiter: '\n' })[0] ?? []
    } catch (error) {
      const { code, message, ...context } = error as CsvError
      const column: unknown = (context as { column?: unknown }).column
      const field = typeof column === 'number' ? (columns[column] ?? null) : null
      return {
        reason: `column ${field ?? 'unknown'} cannot be read: ${QUOTE_FAULTS[code] ?? message}`,
        field,
      }
    }
  }
}

const QUOTE_NOT_CLOSED = 'its quote is not closed'

/** What csv-parse says of quotes, in our words. */
export const QUOTE_FAULTS: Readonly<Record<string, string>> = {
  CSV_QUOTE_NOT_CLOSED: QUOTE_NOT_CLOSED,
  INVALID_OPENING_QUOTE: 'a quote stands within a value that does not begin with one',
  CSV_INVALID_CLOSING_QUOTE: 'text stands behind its closing quote',
}

/** The delimiter is the one by which the header names most of the contract's fields, else most columns. */
function readHeader(text: string, fields: readonly FieldDefinition[], delimiter: string | null): Header {
  const headers = (delimiter === null ? DELIMITERS : [delimiter]).map((delimiter) => ({
    delimiter,
    columns: columnsOf(text, delimiter),
  }))
  const names = new Set(fields.map(({ name }) => name))
  const known = ({ columns }: Header): number => columns.filter((column) => names.has(column)).length
  return headers.reduce((best, header) => {
    const more = known(header) - known(best) || header.columns.length - best.columns.length
    return more > 0 ? header : best
  })
}

function columnsOf(text: string, delimiter: string): string[] {
  try {
    const [columns = []] = parse(text, { delimiter, relax_column_count: true, record_delimiter: '\n' })
    return columns.map((column: string) => column.trim())
  } catch {
    return text.split(delimiter).map((column) => column.trim())
  }
}
