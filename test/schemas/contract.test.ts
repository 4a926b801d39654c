import assert from 'node:assert/strict'
import fc from 'fast-check'
import { ByteWriter } from '../../log/batch.ts'
import { order } from '../../pipelines/orders/contract.ts'
import { contract, type Rejection } from '../../schemas/contract.ts'
import {
  boolean,
  bytes,
  double,
  int,
  long,
  optional,
  string,
  timestamp,
  type Field,
} from '../../schemas/schema.ts'

const NOW = Date.parse('2026-11-01T12:00:00Z')
const FALLBACK = NOW - 5000
const DAY_MS = 86_400_000

function checked(change: object): { result: number | Rejection; row: Record<string, unknown> } {
  const row = { order_id: 'o1', customer_id: 'c1', amount: 1, ...change }
  return { result: order.check(row, NOW, FALLBACK), row }
}

describe('what the orders contract accepts', () => {
  const amounts: [given: unknown, amount: number][] = [
    [12.5, 12.5],
    [0, 0],
    [-3, -3],
    [' 12.5 ', 12.5],
    ['12', 12],
    ['-0.5', -0.5],
    ['+1', 1],
    ['.5', 0.5],
    ['5.', 5],
    ['1e3', 1000],
    ['1.5E-3', 0.0015],
    ['\t7\n', 7],
    ['007', 7],
  ]
  for (const [given, amount] of amounts) {
    it(`takes amount ${JSON.stringify(given)} as ${amount}`, () => {
      const { result, row } = checked({ amount: given })
      assert.equal(result, FALLBACK)
      assert.equal(row['amount'], amount)
    })
  }

  const times: [given: unknown, ms: number][] = [
    ['2026-11-01T10:00:00Z', NOW - 2 * 3_600_000],
    ['2026-11-01T10:00:00', NOW - 2 * 3_600_000],
    ['2026-11-01 10:00', NOW - 2 * 3_600_000],
    ['2026-11-01', NOW - 12 * 3_600_000],
    ['2026-11-01T10:00:00.250+01:00', NOW - 3 * 3_600_000 + 250],
    [NOW - 7, NOW - 7],
    [NOW + DAY_MS, NOW + DAY_MS],
    ['1996-11-02', Date.parse('1996-11-02')],
  ]
  for (const [given, ms] of times) {
    it(`takes timestamp ${JSON.stringify(given)} as the event time`, () => {
      const { result, row } = checked({ timestamp: given })
      assert.equal(result, ms)
      assert.equal(row['timestamp'], ms)
    })
  }

  it('takes the fallback where there is no event time, and leaves the field empty', () => {
    assert.equal(checked({}).result, FALLBACK)
    const { result, row } = checked({ timestamp: null })
    assert.equal(result, FALLBACK)
    assert.equal(row['timestamp'], null)
  })

  it('ignores fields that are not declared, and optional ones that are null', () => {
    assert.equal(checked({ note: { deep: [1] }, status: null, country: undefined }).result, FALLBACK)
    assert.equal(
      order.check(JSON.parse('{"order_id":"o","customer_id":"c","amount":1,"__proto__":1}'), NOW, NOW),
      NOW,
    )
  })
})

describe('what the orders contract refuses', () => {
  const refusals: [change: object, field: string, reason: string][] = [
    [{ customer_id: null }, 'customer_id', 'missing customer_id'],
    [{ customer_id: undefined }, 'customer_id', 'missing customer_id'],
    [{ customer_id: '' }, 'customer_id', 'missing customer_id'],
    [{ order_id: 7 }, 'order_id', 'order_id is not text but a number'],
    [{ order_id: ['o1'] }, 'order_id', 'order_id is not text but an array'],
    [{ customer_id: { id: 1 } }, 'customer_id', 'customer_id is not text but an object'],
    [{ status: false }, 'status', 'status is not text but a boolean'],
    [{ customer_id: 'a\ud800' }, 'customer_id', 'customer_id holds half a surrogate pair, which is no text'],
    [{ amount: '' }, 'amount', 'missing amount'],
    [{ amount: null }, 'amount', 'missing amount'],
    [{ amount: ' ' }, 'amount', 'amount is text that is no number'],
    [{ amount: 'abc' }, 'amount', 'amount is text that is no number'],
    [{ amount: '12abc' }, 'amount', 'amount is text that is no number'],
    [{ amount: '1,5' }, 'amount', 'amount is text that is no number'],
    [{ amount: '0x10' }, 'amount', 'amount is text that is no number'],
    [{ amount: '0b1' }, 'amount', 'amount is text that is no number'],
    [{ amount: '0O7' }, 'amount', 'amount is text that is no number'],
    [{ amount: '1_000' }, 'amount', 'amount is text that is no number'],
    [{ amount: 'NaN' }, 'amount', 'amount is text that is no number'],
    [{ amount: NaN }, 'amount', 'amount is not a finite number'],
    [{ amount: 'Infinity' }, 'amount', 'amount is not a finite number'],
    [{ amount: '1e999' }, 'amount', 'amount is not a finite number'],
    [{ amount: JSON.parse('1e999') as number }, 'amount', 'amount is not a finite number'],
    [{ amount: -Infinity }, 'amount', 'amount is not a finite number'],
    [{ amount: 1e300 }, 'amount', 'amount is too large (2^960 or more)'],
    [{ amount: -(2 ** 960) }, 'amount', 'amount is too large (2^960 or more)'],
    [{ amount: true }, 'amount', 'amount is not a number but a boolean'],
    [{ amount: [1] }, 'amount', 'amount is not a number but an array'],
    [{ amount: {} }, 'amount', 'amount is not a number but an object'],
    [{ timestamp: 'yesterday' }, 'timestamp', 'timestamp is not a time'],
    [{ timestamp: '' }, 'timestamp', 'timestamp is not a time'],
    [{ timestamp: '1700000000000' }, 'timestamp', 'timestamp is not a time'],
    [{ timestamp: '2026-02-29' }, 'timestamp', 'timestamp is not a time'],
    [{ timestamp: true }, 'timestamp', 'timestamp is not a time but a boolean'],
    [{ timestamp: NaN }, 'timestamp', 'timestamp is not a time between 1692 and 2248'],
    [{ timestamp: 1e18 }, 'timestamp', 'timestamp is not a time between 1692 and 2248'],
    [{ timestamp: '9999-12-31' }, 'timestamp', 'timestamp is not a time between 1692 and 2248'],
    [{ timestamp: 0 }, 'timestamp', 'event time is older than 30 years'],
    [{ timestamp: '1970-01-01T00:00:00Z' }, 'timestamp', 'event time is older than 30 years'],
    [{ timestamp: '2200-01-01' }, 'timestamp', 'event time is more than 1 day ahead'],
    [{ timestamp: NOW + DAY_MS + 1 }, 'timestamp', 'event time is more than 1 day ahead'],
  ]
  for (const [change, field, reason] of refusals) {
    it(`${JSON.stringify(change)}: ${reason}`, () => {
      assert.deepEqual(checked(change).result, { reason, field })
    })
  }

  const others: [json: unknown, kind: string][] = [
    [null, 'null'],
    [undefined, 'nothing'],
    [[], 'an array'],
    ['{}', 'text'],
    [1, 'a number'],
    [true, 'a boolean'],
  ]
  for (const [json, kind] of others) {
    it(`a record that is ${kind}`, () => {
      const expected = { reason: `the record is not an object but ${kind}`, field: null }
      assert.deepEqual(order.check(json, NOW, FALLBACK), expected)
    })
  }

  it('a fallback that is out of range, as any event time', () => {
    const row = { order_id: 'o1', customer_id: 'c1', amount: 1 }
    assert.deepEqual(order.check(row, NOW, 0), {
      reason: 'event time is older than 30 years',
      field: 'timestamp',
    })
    assert.equal(typeof order.check(row, NOW, NaN), 'object')
  })

  it('nothing by an exception, whatever the JSON; and what it accepts can be written and read back', () => {
    const field = fc.oneof(
      fc.jsonValue(),
      fc.string(),
      fc.double(),
      fc.constantFrom('o1', '1.5', '2026-10-01', NOW),
    )
    const fields = {
      order_id: field,
      customer_id: field,
      amount: field,
      status: field,
      country: field,
      timestamp: field,
    }
    const json = fc.record(fields, { requiredKeys: [] })
    // Of which many are accepted.
    const likely = fc.record(
      {
        ...fields,
        order_id: fc.string({ minLength: 1 }),
        customer_id: fc.constant('c1'),
        amount: fc.float(),
      },
      { requiredKeys: ['order_id', 'customer_id', 'amount'] },
    )
    const writer = new ByteWriter()
    const view = order.sourceView()
    let accepted = 0
    fc.assert(
      fc.property(fc.oneof(json, likely, fc.jsonValue()), (value) => {
        const result = order.check(value, NOW, FALLBACK)
        if (typeof result === 'object') return
        accepted++
        writer.position = 0
        order.encodeSource(writer, value as never, result, null)
        assert.equal(view.$wrap(writer.buffer, 0, writer.position).$eventTimeMs, result)
        assert.equal(view.amount, (value as { amount: number }).amount)
      }),
      { numRuns: 2000 },
    )
    assert.ok(accepted > 0)
  })
})

describe('the kinds of fields that a contract checks', () => {
  const cases: [field: Field, accepted: [unknown, unknown][], refused: unknown[]][] = [
    [double(), [[1.5, 1.5]], ['1.5', 1e300]],
    [long(), [[2 ** 53 - 1, 2 ** 53 - 1]], ['1', 1.5, 2 ** 53, Infinity]],
    [
      long({ cast: 'text' }),
      [
        [' -12 ', -12],
        ['007', 7],
      ],
      ['1.0', '1e3', '9007199254740993', '0x1', ''],
    ],
    [int({ cast: 'text' }), [['2147483647', 2147483647]], ['2147483648', 2 ** 31, 0.5]],
    [boolean(), [[true, true]], ['true', 1, 0]],
    [bytes(), [[Uint8Array.of(1), Uint8Array.of(1)]], ['AQ==', [1]]],
    [
      optional(double({ cast: 'text' })),
      [
        [null, null],
        [undefined, undefined],
        ['1', 1],
      ],
      ['', 'x'],
    ],
    [
      optional(string()),
      [
        ['', ''],
        [null, null],
      ],
      [0],
    ],
  ]
  for (const [field, accepted, refused] of cases) {
    const name = `${field.optional ? 'optional ' : ''}${field.kind}${field.castsText ? ' cast from text' : ''}`
    const fields = { id: string(), f: field, at: timestamp() }
    const item = contract('Item', fields, { id: ['id'], key: 'id', eventTime: 'at', disorder: 0 })
    for (const [given, value] of accepted) {
      it(`${name}: ${JSON.stringify(given)} is accepted`, () => {
        const row = { id: 'a', f: given, at: NOW }
        assert.equal(item.check(row, NOW, NOW), NOW)
        assert.deepEqual(row.f, value)
      })
    }
    for (const given of refused) {
      it(`${name}: ${JSON.stringify(given)} is refused`, () => {
        const result = item.check({ id: 'a', f: given, at: NOW }, NOW, NOW)
        assert.equal((result as Rejection).field, 'f')
      })
    }
  }
})

describe('a source record', () => {
  const row = { order_id: 'o1', customer_id: 'c1', amount: 2.5, status: 'confirmed', timestamp: NOW - 1 }

  it('begins with its event time and its watermark, and ends with the declared fields as they are', () => {
    const writer = new ByteWriter(1)
    order.encodeSource(writer, row, NOW - 1, NOW - 3_600_000.001)
    const view = order.sourceView().$wrap(writer.buffer, 0, writer.position)
    assert.equal(view.$eventTimeMs, NOW - 1)
    assert.equal(view.$watermarkMs, NOW - 3_600_000.001)
    assert.deepEqual(view.toObject(), { ...row, country: null })
    const own = new ByteWriter()
    order.schema.encode(own, row)
    assert.deepEqual(
      writer.buffer.subarray(view.$fieldsStart, writer.position),
      own.buffer.subarray(0, own.position),
    )
    const whole = order.sourceSchema.decode(writer.buffer, 0, writer.position)
    assert.deepEqual(Object.keys(whole).slice(0, 3), ['_event_time', '_watermark', 'order_id'])
  })

  it('has no watermark before the first: -Infinity', () => {
    for (const none of [null, -Infinity]) {
      const writer = new ByteWriter()
      order.encodeSource(writer, row, NOW, none)
      assert.equal(order.sourceView().$wrap(writer.buffer, 0, writer.position).$watermarkMs, -Infinity)
    }
  })

  it('that cannot be written leaves the writer as it was', () => {
    const writer = new ByteWriter()
    writer.position = 2
    const refused = [
      (): void => order.encodeSource(writer, { ...row, amount: '1' } as never, NOW, NOW),
      (): void => order.encodeSource(writer, row, NaN, NOW),
      (): void => order.encodeSource(writer, row, 1e15, NOW),
      (): void => order.encodeSource(writer, row, NOW, Infinity),
      (): void => order.encodeSource(writer, row, NOW, NaN),
    ]
    for (const write of refused) {
      assert.throws(write, { code: 'INVALID_VALUE' })
      assert.equal(writer.position, 2)
    }
  })
})

describe('identity', () => {
  const pair = contract(
    'Pair',
    { a: string(), b: optional(string()), n: optional(long()), c: string(), at: timestamp() },
    { id: ['a', 'b', 'n', 'c'], key: 'c', eventTime: 'at', disorder: '1h' },
  )
  const text = fc.string({ maxLength: 4 })
  const id = fc.record({ a: text, b: fc.option(text), n: fc.option(fc.integer()), c: text })

  it('is equal for equal ids only, null unlike the empty text', () => {
    const signs = ['', ':', '-', '1']
    const texts = signs.flatMap((one) => signs.map((other) => one + other))
    const distinct = [...new Set(texts)]
    const ids = distinct.flatMap((a) =>
      [null, ...distinct].flatMap((b) =>
        [null, 1, -1].flatMap((n) => distinct.map((c) => pair.idOf({ a, b, n, c, at: 0 }))),
      ),
    )
    assert.equal(new Set(ids).size, distinct.length * (distinct.length + 1) * 3 * distinct.length)
    const withStatus = (status: string | null): string =>
      order.idOf({ order_id: 'o', customer_id: 'c', amount: 1, status })
    const statuses = [null, '', '-', '+', '+-']
    assert.equal(new Set(statuses.map(withStatus)).size, statuses.length)
  })

  it('is the same for the object that was written and for the record that is read', () => {
    const writer = new ByteWriter()
    fc.assert(
      fc.property(id, (value) => {
        writer.position = 0
        pair.encodeSource(writer, { ...value, at: 0 }, 0, null)
        const view = pair.sourceView().$wrap(writer.buffer, 0, writer.position)
        assert.equal(pair.idOf(view), pair.idOf({ ...value, at: 0 }))
        assert.equal(pair.keyOf(view), value.c)
      }),
    )
  })

  it('tells whether equal ids have equal keys', () => {
    assert.equal(order.equalIdsImplyEqualKeys, true)
    const fields = { a: string(), n: long(), at: timestamp() }
    const other = contract('Other', fields, { id: ['a'], key: 'n', eventTime: 'at', disorder: '1h' })
    assert.equal(other.equalIdsImplyEqualKeys, false)
    assert.equal(other.keyOf({ a: 'x', n: 42, at: 0 }), '42')
  })
})

describe('a contract as declared', () => {
  it('has its durations in milliseconds, with 30 years and a day as defaults', () => {
    assert.equal(order.disorderMs, 3_600_000)
    assert.equal(order.maxAgeMs, 30 * 365.25 * DAY_MS)
    assert.equal(order.maxAheadMs, DAY_MS)
  })

  it('is refused where a name or a duration cannot be one', () => {
    const fields = { id: string(), amount: double(), note: optional(string()), at: timestamp() }
    const good = { id: ['id'], key: 'id', eventTime: 'at', disorder: '1h' }
    const wrong: [options: object, said: RegExp][] = [
      [{ id: ['nope'] }, /no field nope/],
      [{ id: [] }, /id/],
      [{ key: 'nope' }, /no field nope/],
      [{ key: 'note' }, /key note.*required/],
      [{ key: 'amount' }, /key amount/],
      [{ id: ['amount'] }, /id amount/],
      [{ eventTime: 'amount' }, /event time amount/],
      [{ disorder: '1 hour' }, /disorder/],
      [{ maxAge: 'old' }, /maxAge/],
      [{ maxAhead: -1 }, /maxAhead/],
    ]
    for (const [options, said] of wrong) {
      assert.throws(
        () => contract('Item', fields, { ...good, ...options } as never),
        { name: 'SchemaError', message: said },
        JSON.stringify(options),
      )
    }
    const taken = { id: string(), at: timestamp(), _event_time: timestamp() }
    assert.throws(
      () => contract('Item', taken, { id: ['id'], key: 'id', eventTime: 'at', disorder: '1h' }),
      /_event_time/,
    )
  })
})
