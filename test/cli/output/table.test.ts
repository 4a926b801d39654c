import assert from 'node:assert/strict'
import { formatTable } from '../../../cli/output/table.ts'

describe('a table in the terminal', () => {
  it('aligns words to the left and numbers to the right, and leaves no trailing space', () => {
    const text = formatTable(
      [
        { name: 'country', numeric: false },
        { name: 'orders', numeric: true },
      ],
      [
        ['France', 7],
        ['United Kingdom', 12045],
      ],
    )
    assert.equal(
      text,
      [
        'country         orders',
        '──────────────  ──────',
        'France               7',
        'United Kingdom   12045',
      ].join('\n'),
    )
  })

  it('shows nulls as nothing, and objects as JSON', () => {
    const columns = ['text', 'nothing', 'flag', 'nested'].map((name) => ({ name, numeric: false }))
    const text = formatTable(columns, [['abc', null, true, { a: 1 }]])
    assert.equal(text.split('\n')[2], 'abc            true  {"a":1}')
  })

  it('shows the columns of a result without rows', () => {
    assert.equal(formatTable([{ name: 'n', numeric: true }], []), 'n\n─')
  })

  it('keeps data from moving the cursor, and cuts what is very long', () => {
    const text = formatTable([{ name: 'x', numeric: false }], [['a\nb\u001b[2J'], ['é'.repeat(100)]])
    assert.equal(text.split('\n')[2], 'a·b·[2J')
    assert.equal(text.split('\n')[3], `${'é'.repeat(59)}…`)
  })
})
