import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { CliError, locate, reportError } from '../../cli/errors.ts'
import { LogError } from '../../log/errors.ts'

describe('an error of the command', () => {
  it('says what, where and what to do, without a stack', () => {
    const report = reportError(new LogError('STORAGE', 'the log could not be written: disk full. Make room.'))
    assert.deepEqual(report, {
      text: 'error STORAGE: the log could not be written: disk full.\n  Make room.',
      exitCode: 1,
    })
    const placed = locate(
      new CliError('PIPELINE_NOT_LOADED', 'x is 1.5. Make it 2. Then go on.'),
      './p.ts:1:2',
    )
    assert.equal(
      reportError(placed).text,
      'error PIPELINE_NOT_LOADED: x is 1.5.\n  at ./p.ts:1:2\n  Make it 2. Then go on.',
    )
    assert.equal(reportError(new CliError('BAD_USAGE', 'x')).text, 'error BAD_USAGE: x')
  })

  it('tells wrong usage from failure by its exit code', () => {
    assert.equal(reportError(new CliError('BAD_SETTING', 'x')).exitCode, 2)
    assert.equal(reportError(new CliError('DATA_DIR_IN_USE', 'x')).exitCode, 1)
  })

  it('of the operating system comes with advice', () => {
    let thrown: unknown
    try {
      readFileSync('/nowhere/at/all')
    } catch (error) {
      thrown = error
    }
    assert.match(
      reportError(thrown).text,
      /^error ENOENT: no such file .*\/nowhere\/at\/all'\n {2}Check the path\.$/,
    )
  })

  it('that nobody foresaw says so and brings its stack', () => {
    const report = reportError(new TypeError('x is not a function'))
    assert.equal(report.exitCode, 1)
    assert.match(report.text, /^error UNEXPECTED: this is a fault in Millrace/)
    assert.match(report.text, /errors\.test\.ts/)
    assert.match(reportError('thrown text').text, /thrown text/)
    assert.match(reportError(Object.assign(new Error('inner'), { code: 'ERR_INTERNAL' })).text, /UNEXPECTED/)
  })

  it('brings its stack and its causes when asked', () => {
    const error = new CliError('BAD_USAGE', 'x', { cause: new Error('connection reset') })
    assert.match(reportError(error, { debug: true }).text, /connection reset/)
    assert.match(reportError(error, { debug: true }).text, /errors\.test\.ts/)
    assert.doesNotMatch(reportError(error).text, /errors\.test\.ts/)
  })
})
