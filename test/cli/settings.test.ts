import assert from 'node:assert/strict'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { resolveSettings, type Settings } from '../../cli/settings.ts'

describe('a setting', () => {
  let cwd: string
  beforeEach(() => {
    cwd = mkdtempSync(join(tmpdir(), 'millrace-settings-'))
  })
  afterEach(() => rmSync(cwd, { recursive: true, force: true }))

  function resolve(flags: Record<string, unknown> = {}, env: Record<string, string> = {}): Settings {
    return resolveSettings({ flags, env, cwd })
  }
  function file(content: unknown): void {
    writeFileSync(join(cwd, 'millrace.json'), typeof content === 'string' ? content : JSON.stringify(content))
  }

  it('has a default that needs nothing', () => {
    assert.deepEqual(resolve(), {
      dataDir: 'millrace-data',
      partitions: null,
      format: null,
      input: [],
      embedded: false,
      exitWhenDone: false,
      rate: 500,
      count: null,
      badShare: 0.01,
      seed: 1,
      sinceMs: 3_600_000,
    } satisfies Settings)
  })

  it('comes from the flag before the environment, the environment before the file', () => {
    file({ dataDir: 'from-file', partitions: 2, rate: 7 })
    const env = { MILLRACE_DATA_DIR: 'from-env', MILLRACE_PARTITIONS: '3' }
    const settings = resolve({ dataDir: 'from-flag' }, env)
    assert.deepEqual([settings.dataDir, settings.partitions, settings.rate], ['from-flag', 3, 7])
  })

  it('is taken as unset when its variable is empty', () => {
    assert.equal(resolve({}, { MILLRACE_DATA_DIR: '', KAFKA_BROKERS: '' }).dataDir, 'millrace-data')
  })

  it('is read from text where it is a number, a share or a duration', () => {
    const settings = resolve({ count: '100', badShare: '0.5', since: '6h', rate: '2.5', seed: '0' })
    assert.deepEqual(
      [settings.count, settings.badShare, settings.sinceMs, settings.rate, settings.seed],
      [100, 0.5, 21_600_000, 2.5, 0],
    )
  })

  for (const [flag, value, expected] of [
    ['partitions', '0', /--partitions is "0": it must be a whole number from 1 to 256/],
    ['partitions', 'four', /--partitions is "four"/],
    ['partitions', '1.5', /--partitions/],
    ['partitions', '1e2', /--partitions/],
    ['count', '-1', /--count is "-1": it must be a whole number/],
    ['badShare', '2', /--bad-share is "2": it must be a share between 0 and 1/],
    ['badShare', 'NaN', /--bad-share/],
    ['rate', '0', /--rate is "0": it must be a number above 0/],
    ['since', 'yesterday', /--since is "yesterday": it must be a duration/],
    ['dataDir', '', /--data-dir is "": it must be a text/],
  ] as const) {
    it(`that cannot be is refused with what it may be: ${flag} '${value}'`, () => {
      assert.throws(() => resolve({ [flag]: value }), { code: 'BAD_SETTING', message: expected })
    })
  }

  it('that cannot be names the place that it came from', () => {
    assert.throws(() => resolve({}, { MILLRACE_RATE: 'fast' }), {
      message: /environment's MILLRACE_RATE is "fast"/,
    })
    file({ partitions: 'many' })
    assert.throws(() => resolve(), { message: /millrace\.json's "partitions" is "many"/ })
  })

  it('that does not exist is refused in the file, with the nearest name', () => {
    file({ partitons: 4 })
    assert.throws(() => resolve(), {
      code: 'BAD_SETTING',
      message: /millrace\.json has an unknown setting 'partitons'. Did you mean 'partitions'\?/,
    })
  })

  it('file that is none is refused', () => {
    file('{ dataDir: ')
    assert.throws(() => resolve(), { code: 'BAD_SETTING', message: /millrace\.json is not JSON/ })
    file([1])
    assert.throws(() => resolve(), { code: 'BAD_SETTING', message: /must hold one JSON object/ })
  })
})

describe('KAFKA_BROKERS', () => {
  const KAFKA = { KAFKA_BROKERS: 'broker:9092' }
  const resolve = (flags: Record<string, unknown>, env = {}): Settings =>
    resolveSettings({ flags, env: { ...KAFKA, ...env }, cwd: tmpdir() })

  it('is refused while Kafka is not supported, with the way out', () => {
    assert.throws(() => resolve({}), {
      code: 'NOT_SUPPORTED',
      message: /broker:9092.*not supported by this version yet.*--embedded, or unset KAFKA_BROKERS/,
    })
  })

  it('beside a data directory needs --embedded, wherever the directory was given', () => {
    assert.throws(() => resolve({ dataDir: 'd' }), {
      code: 'BAD_SETTING',
      message: /both given.*Add --embedded/,
    })
    assert.throws(() => resolve({}, { MILLRACE_DATA_DIR: 'd' }), { code: 'BAD_SETTING' })
    assert.equal(resolve({ dataDir: 'd', embedded: true }).dataDir, 'd')
  })
})
