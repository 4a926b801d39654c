import { parse, type CsvError } from 'csv-parse/sync'
import { DecimalSum, parseDecimal } from './decimal.ts'
import { SourceError } from '../errors.ts'
import { shownPath } from '../files/paths.ts'
import { QUOTE_FAULTS } from './csv.ts'
import {
  tooLarge,
  type ParserOptions,
  type ParserOutput,
  type TextFormat,
  type TextParser,
} from './format.ts'

const NEWLINE = 10

const COLUMNS = [
  'InvoiceNo',
  'StockCode',
  'Description',
  'Quantity',
  'InvoiceDate',
  'UnitPrice',
  'CustomerID',
  'Country',
] as const

const QUANTITY = 3
const INVOICE_DATE = 4
const UNIT_PRICE = 5
const CUSTOMER = 6
const COUNTRY = 7

const INVOICE_DATE_FORM = /^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d$/

/**
 * The UCI data set "Online Retail" as orders: consecutive lines with one InvoiceNo are one order, whose
 * amount is the exact sum of Quantity × UnitPrice. Times have no zone and are read as UTC.
 */
export const onlineRetail: TextFormat = {
  kind: 'text',
  name: 'online-retail',
  description: 'CSV of invoice lines, as in the UCI data set Online Retail',
  parser: (output, options) => new OnlineRetailParser(output, options),
}

const BEHIND_HEADER = 'behind the header'

/** @throws SourceError FILE_HEADER */
function checkHeader(path: string, line: string): void {
  const header = COLUMNS.join(',')
  if (line === header) return
  const missing = COLUMNS.find((column) => !line.split(',').includes(column))
  const what = missing === undefined ? 'has its columns in another order' : `lacks the column '${missing}'`
  throw new SourceError(
    'FILE_HEADER',
    `${shownPath(path)} is not in the format '${onlineRetail.name}': its first line ${what}. It must be ${header}`,
  )
}

interface Refusal {
  readonly reason: string
  readonly field: string | null
}

/** The lines of one invoice so far. */
interface Invoice {
  readonly number: string
  readonly start: number
  end: number
  lines: number
  /** The first thing about it that cannot be read. */
  refusal: Refusal | null
  customer: string
  country: string
  timestamp: string
  readonly amount: DecimalSum
}

class OnlineRetailParser implements TextParser {
  readonly spansLines = false
  readonly #output: ParserOutput
  readonly #options: ParserOptions
  /** Whether the first line is still to come. */
  #headerDue: boolean
  #invoice: Invoice | null = null

  constructor(output: ParserOutput, options: ParserOptions) {
    this.#output = output
    this.#options = options
    this.#headerDue = options.state === null
  }

  get pendingStart(): number {
    return this.#invoice?.start ?? -1
  }

  get state(): string | null {
    return this.#headerDue ? null : BEHIND_HEADER
  }

  endOf(bytes: Buffer, from: number): number {
    return bytes.indexOf(NEWLINE, from)
  }

  record(text: string, start: number, end: number, problem: string | null): void {
    if (this.#headerDue) {
      checkHeader(this.#options.path, text)
      this.#headerDue = false
      return
    }
    const fields = problem === null ? fieldsOf(text) : { reason: problem, field: null }
    // A line that cannot be split still belongs to an invoice: InvoiceNo is the first column.
    const number = Array.isArray(fields) ? fields[0]! : invoiceNumberOf(text)
    if (this.#invoice !== null && this.#invoice.number !== number) this.finish()
    const invoice = (this.#invoice ??= newInvoice(number, start))
    invoice.end = end
    invoice.lines++
    if (invoice.refusal !== null) return
    const refusal = Array.isArray(fields) ? addLine(invoice, fields) : fields
    if (refusal === null) return
    invoice.refusal = { ...refusal, reason: `line ${invoice.lines} of invoice ${number}: ${refusal.reason}` }
  }

  finish(): void {
    const invoice = this.#invoice
    if (invoice === null) return
    this.#invoice = null
    const { number, start, end, refusal } = invoice
    const { maxRecordBytes } = this.#options
    if (end - start > maxRecordBytes) {
      this.#output.reject(tooLarge(end - start, maxRecordBytes), null, start, end)
    } else if (refusal !== null) {
      this.#output.reject(refusal.reason, refusal.field, start, end)
    } else {
      const order = {
        order_id: number,
        customer_id: invoice.customer,
        amount: invoice.amount.toNumber(),
        status: number.startsWith('C') ? 'cancelled' : 'delivered',
        country: invoice.country,
        timestamp: invoice.timestamp,
      }
      this.#output.value(order, start, end)
    }
  }

  cutShort(): boolean {
    return false
  }

  /** The next line may belong to the same invoice. */
  finishWithin(): boolean {
    return false
  }
}

function newInvoice(number: string, start: number): Invoice {
  return {
    number,
    start,
    end: start,
    lines: 0,
    refusal: null,
    customer: '',
    country: '',
    timestamp: '',
    amount: new DecimalSum(),
  }
}

/** Takes a line into its invoice, or says why it cannot be. */
function addLine(invoice: Invoice, fields: readonly string[]): Refusal | null {
  const quantity = parseDecimal(fields[QUANTITY]!)
  if (quantity === null) return notA('number', QUANTITY, fields)
  const price = parseDecimal(fields[UNIT_PRICE]!)
  if (price === null) return notA('number', UNIT_PRICE, fields)
  if (invoice.lines === 1) {
    const date = fields[INVOICE_DATE]!
    if (!INVOICE_DATE_FORM.test(date)) return notA('time (YYYY-MM-DD HH:MM:SS)', INVOICE_DATE, fields)
    invoice.timestamp = `${date.replace(' ', 'T')}Z`
    invoice.customer = fields[CUSTOMER]!.replace(/\.0$/, '')
    invoice.country = fields[COUNTRY]!
  }
  invoice.amount.addProduct(quantity, price)
  return null
}

const SHOWN_CHARACTERS = 40

function notA(kind: string, column: number, fields: readonly string[]): Refusal {
  const field = COLUMNS[column]!
  const text = fields[column]!
  const shown = text.length > SHOWN_CHARACTERS ? `${text.slice(0, SHOWN_CHARACTERS)}…` : text
  return { reason: `column ${field} is not a ${kind}: ${JSON.stringify(shown)}`, field }
}

/** The line's eight fields, or why there are none. */
function fieldsOf(line: string): string[] | Refusal {
  let fields: string[]
  if (line.includes('"')) {
    try {
      // csv-parse costs much for a single line; only those that hold a quote need it.
      fields = parse(line, { record_delimiter: '\n' })[0] ?? []
    } catch (error) {
      return brokenQuotes(error as CsvError)
    }
  } else {
    fields = line.split(',')
  }
  if (fields.length === COLUMNS.length) return fields
  const field = COLUMNS[Math.min(fields.length, COLUMNS.length - 1)]!
  return { reason: `${fields.length} columns where there should be ${COLUMNS.length}`, field }
}

function brokenQuotes({ code, message, ...context }: CsvError): Refusal {
  const column: unknown = (context as { column?: unknown }).column
  const field = typeof column === 'number' ? (COLUMNS[column] ?? null) : null
  return { reason: `column ${field ?? 'unknown'} cannot be read: ${QUOTE_FAULTS[code] ?? message}`, field }
}

function invoiceNumberOf(line: string): string {
  const comma = line.indexOf(',')
  return comma < 0 ? line : line.slice(0, comma)
}
