import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { join } from 'node:path'
import { createLogger } from '../../telemetry/log.ts'

const MODULE = join(import.meta.dirname, '..', '..', 'telemetry', 'log.ts')

describe('the log', () => {
  it('is JSON lines on standard error, with the level as a word and an ISO time', () => {
    const { stdout, stderr } = inChild(
      `createLogger('info', { pipeline: 'orders' }).info({ windowStart: 0 }, 'DROP')`,
    )
    assert.equal(stdout, '')
    const line = JSON.parse(stderr) as Record<string, unknown>
    assert.match(line['time'] as string, /^\d{4}-\d\d-\d\dT[\d:.]+Z$/)
    delete line['time']
    assert.deepEqual(line, { level: 'info', pipeline: 'orders', windowStart: 0, msg: 'DROP' })
  })

  it('holds back what is below its level, which is warn unless told', () => {
    assert.equal(inChild(`createLogger(undefined).info('x')`).stderr, '')
    assert.notEqual(inChild(`createLogger('').warn('x')`).stderr, '')
  })

  it('refuses a level that does not exist', () => {
    assert.throws(() => createLogger('loud'), /'loud' does not exist; there are trace, debug/)
  })
})

function inChild(code: string): { stdout: string; stderr: string } {
  const script = `import { createLogger } from ${JSON.stringify(MODULE)}\n${code}`
  return spawnSync(process.execPath, ['--input-type=module', '-e', script], { encoding: 'utf8' })
}
