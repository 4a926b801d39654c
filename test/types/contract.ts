/** Compiled, never run: each mistake below has to be an error, and everything else has to be none. */
import { contract, type Contract, type SourceView } from '../../schemas/contract.ts'
import { day, table, type TableDestination } from '../../schemas/destinations.ts'
import {
  boolean,
  bytes,
  double,
  extend,
  long,
  optional,
  schema,
  string,
  timestamp,
  type Input,
  type RowOf,
  type Schema,
  type View,
  type Writer,
} from '../../schemas/schema.ts'

type Equal<A, B> = (<T>() => T extends A ? 1 : 2) extends <T>() => T extends B ? 1 : 2 ? true : false
const same = <A, B>(_: Equal<A, B>): void => undefined

const fields = {
  order_id: string(),
  amount: double({ cast: 'text' }),
  count: long(),
  status: optional(string()),
  paid: boolean(),
  at: optional(timestamp()),
  raw: bytes(),
}
const order = contract('Order', fields, {
  id: ['order_id', 'status'],
  key: 'order_id',
  eventTime: 'at',
  disorder: '1h',
})
interface OrderRow {
  order_id: string
  amount: number
  count: number
  status: string | null
  paid: boolean
  at: number | null
  raw: Uint8Array
}
same<RowOf<typeof order>, { [K in keyof OrderRow]: OrderRow[K] }>(true)
same<RowOf<typeof order.schema>, { [K in keyof OrderRow]: OrderRow[K] }>(true)

// @ts-expect-error an id that is no field
contract('Order', fields, { id: ['orderid'], key: 'order_id', eventTime: 'at', disorder: '1h' })
// @ts-expect-error no id at all
contract('Order', fields, { id: [], key: 'order_id', eventTime: 'at', disorder: '1h' })
// @ts-expect-error a key that is no field
contract('Order', fields, { id: ['order_id'], key: 'orderid', eventTime: 'at', disorder: '1h' })
// @ts-expect-error a key that may be missing
contract('Order', fields, { id: ['order_id'], key: 'status', eventTime: 'at', disorder: '1h' })
// @ts-expect-error a key that is a double
contract('Order', fields, { id: ['order_id'], key: 'amount', eventTime: 'at', disorder: '1h' })
// @ts-expect-error an event time that is no timestamp
contract('Order', fields, { id: ['order_id'], key: 'order_id', eventTime: 'amount', disorder: '1h' })
// @ts-expect-error a duration without a known unit
contract('Order', fields, { id: ['order_id'], key: 'order_id', eventTime: 'at', disorder: '1 hour' })
// @ts-expect-error a cast that does not exist
double({ cast: 'hex' })
// @ts-expect-error a field that is none
schema('Order', { order_id: 'string' })

declare const writer: Writer
declare const input: Input<RowOf<typeof order>>
const complete = { order_id: 'a', amount: 1, count: 1, paid: true, raw: new Uint8Array() }
order.schema.encode(writer, complete)
order.schema.encode(writer, { ...complete, status: null, at: undefined })
order.encodeSource(writer, input, 0, null)
// @ts-expect-error a required field is missing
order.schema.encode(writer, { order_id: 'a' })
// @ts-expect-error a required field is null
order.schema.encode(writer, { ...complete, amount: null })
// @ts-expect-error text where a number is declared
order.schema.encode(writer, { ...complete, amount: '1' })
// @ts-expect-error a field that is not declared
order.schema.encode(writer, { ...complete, more: 1 })

declare const view: SourceView<RowOf<typeof order>>
same<typeof view.status, string | null>(true)
same<typeof view.at, number | null>(true)
same<typeof view.$watermarkMs, number>(true)
order.schema.encode(writer, view)
order.idOf(view)
// @ts-expect-error views are read-only
view.amount = 1
// @ts-expect-error no such field
void view.amuont
// @ts-expect-error it may be null
void view.status.length

const stamped = extend(order.schema, { processed_at: timestamp(), note: optional(string()) }, 'StampedOrder')
type Stamped = RowOf<typeof stamped>
same<Stamped['processed_at'], number>(true)
same<Stamped['note'], string | null>(true)
same<Stamped['amount'], number>(true)
same<keyof Stamped, keyof OrderRow | 'processed_at' | 'note'>(true)
stamped.encodeFrom(writer, { processed_at: 0 }, order.schema.fields.length)

// What is known by its row type can be handled as one of which nothing is known.
const anySchema: Schema = order.schema
const anyContract: Contract = order
const anyView: View<Record<string, unknown>> = order.schema.view()
void [anySchema, anyContract, anyView]

const into = <T>(_from: Schema<T>, _to: TableDestination<T>): void => undefined
into(stamped, table('a.b', { partitionBy: day('processed_at'), clusterBy: ['status'] }))
// @ts-expect-error no such column
into(stamped, table('a.b', { partitionBy: day('processd_at') }))
// @ts-expect-error no such column
into(stamped, table('a.b', { clusterBy: ['state'] }))
