import assert from 'node:assert/strict'
import { lines } from '../../../bridge/adapters/lines.ts'
import { checkFormatName, formatNamed } from '../../../bridge/adapters/formats.ts'

describe('a format of your own, a record a line', () => {
  function parsed(texts: readonly string[], end?: { text: string; isFinal: boolean }): unknown[] {
    const found: unknown[] = []
    const format = lines((line) => {
      if (line === 'nothing') return null
      if (line === 'bad') throw new Error('it is bad')
      return { line }
    })
    const output = {
      value: (value: unknown) => void found.push(value),
      reject: (reason: string) => void found.push(`refused: ${reason}`),
    }
    const options = { path: 'a.log', maxRecordBytes: 10, fields: [], delimiter: null, state: null }
    const parser = format.parser(output, options)
    for (const text of texts) parser.record(text, 0, text.length, null)
    if (end !== undefined) found.push(parser.finishWithin(end.text, 0, end.text.length, end.isFinal))
    return found
  }

  it('gives what the function returns, refuses with what it throws, and passes null over', () => {
    assert.deepEqual(parsed(['a', 'nothing', 'bad', 'b\r']), [
      { line: 'a' },
      'refused: it is bad',
      { line: 'b' },
    ])
  })

  it('refuses a line above the bound', () => {
    assert.deepEqual(parsed(['12345678901']), ['refused: record too large (11 bytes, limit 10)'])
  })

  it('takes a last line without its end only where the input does not grow any more', () => {
    assert.deepEqual(parsed([], { text: 'a', isFinal: false }), [false])
    assert.deepEqual(parsed([], { text: 'a', isFinal: true }), [{ line: 'a' }, true])
  })

  it('is called by the name that the pipeline gives it, and a misspelt one is told', async () => {
    const own = { till: lines(() => null) }
    assert.equal((await formatNamed('till', own)).name, 'till')
    assert.throws(() => checkFormatName('tilt', own), {
      code: 'UNKNOWN_FORMAT',
      message: /Did you mean 'till'\?/,
    })
  })
})
