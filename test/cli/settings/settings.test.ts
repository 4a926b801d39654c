import assert from 'node:assert/strict'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { AlertSettings } from '../../../cli/settings/alerts.ts'
import {
  resolveSettings,
  settingNames,
  tablesDirectory,
  type Settings,
} from '../../../cli/settings/settings.ts'

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
      stack: null,
      dataDir: 'millrace-data',
      warehouse: 'millrace-data',
      partitions: null,
      format: [],
      input: [],
      csvDelimiter: null,
      exitWhenDone: false,
      rate: 500,
      count: null,
      badShare: 0.01,
      seed: 1,
      sinceMs: 3_600_000,
      commitIntervalMs: null,
      stateCacheMib: null,
      instance: null,
      metricsPort: null,
      metricsHost: '127.0.0.1',
      alerts: { webhookUrl: null, email: null, maxAgeMs: 3_600_000 },
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
    ['commitInterval', '5', /--commit-interval is "5": it must be milliseconds from 10 to 60000, or a dur/],
    ['commitInterval', '2h', /--commit-interval is "2h"/],
    ['metricsPort', '65536', /--metrics-port is "65536": it must be a whole number from 0 to 65535/],
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

  it('is a list in each of its forms, of all sources or by source', () => {
    assert.deepEqual(resolve({}, { MILLRACE_FORMAT: 'csv,shop=json' }).format, ['csv', 'shop=json'])
    file({ input: ['a.csv', 'b=1.csv'], format: 'csv' })
    assert.deepEqual([resolve().input, resolve().format], [['a.csv', 'b=1.csv'], ['csv']])
    file({ input: { web: ['a.csv', 'b=1.csv'], shop: 'c.json' } })
    assert.deepEqual(resolve().input, ['web=a.csv', 'web=b=1.csv', 'shop=c.json'])
    for (const input of [7, null, { web: 7 }, { web: [''] }, ['a', null], '']) {
      file({ input })
      assert.throws(() => resolve(), {
        code: 'BAD_SETTING',
        message: /"input" is .*a list of files, or of SOU/,
      })
    }
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

describe('docs/running.md', () => {
  it('names every setting, in each of its names', () => {
    const page = readFileSync(join(import.meta.dirname, '..', '..', '..', 'docs', 'running.md'), 'utf8')
    const missing = settingNames().filter((name) => !page.includes(`| \`${name}\` |`))
    assert.deepEqual(missing, [])
  })
})

describe('where alerts go', () => {
  const alerts = (env: Record<string, string>): AlertSettings =>
    resolveSettings({ flags: {}, env, cwd: tmpdir() }).alerts
  const email = { ALERT_EMAIL_FROM: 'a@b.example', ALERT_EMAIL_TO: 'Ops <ops@b.example>, night@b.example' }

  it('is said by the environment: a webhook, a mail server with addresses, an age', () => {
    const found = alerts({
      ...email,
      SMTP_URL: 'smtps://us%40er:p%3Aw@mail.example',
      ALERT_WEBHOOK_URL: 'https://hooks.example/x',
      ALERT_MAX_AGE: '30m',
    })
    assert.deepEqual(found, {
      webhookUrl: 'https://hooks.example/x',
      maxAgeMs: 1_800_000,
      email: {
        host: 'mail.example',
        port: 465,
        secure: true,
        requireTls: false,
        auth: { user: 'us@er', password: 'p:w' },
        ca: null,
        from: 'a@b.example',
        to: ['Ops <ops@b.example>', 'night@b.example'],
      },
    })
  })

  it('never has a password go over the network in the clear', () => {
    const smtp = (url: string): boolean => alerts({ ...email, SMTP_URL: url }).email!.requireTls
    assert.equal(smtp('smtp://u:p@mail.example'), true)
    assert.equal(smtp('smtp://u:p@127.0.0.1:2525'), false)
    assert.equal(smtp('smtp://mail.example'), false)
  })

  for (const [what, env, says] of [
    [
      'a webhook that is none',
      { ALERT_WEBHOOK_URL: 'hooks.secret' },
      /ALERT_WEBHOOK_URL is not what it can be/,
    ],
    [
      'a webhook with a password',
      { ALERT_WEBHOOK_URL: 'https://u:secret@h/x' },
      /without a user and password/,
    ],
    [
      'a mail server of another scheme',
      { ...email, SMTP_URL: 'http://u:secret@h' },
      /SMTP_URL is not what it can be/,
    ],
    ['a user without a password', { ...email, SMTP_URL: 'smtp://secret@h' }, /a user needs a password/],
    ['a wrong escape', { ...email, SMTP_URL: 'smtp://u:%zzsecret@h' }, /%40/],
    ['a mail server without addresses', { SMTP_URL: 'smtp://h' }, /belong together/],
    ['addresses without a mail server', email, /belong together/],
    ['two senders', { SMTP_URL: 'smtp://h', ...email, ALERT_EMAIL_FROM: 'a@b, c@d' }, /must be one address/],
    ['what is no address', { SMTP_URL: 'smtp://h', ...email, ALERT_EMAIL_TO: 'ops' }, /has "ops"/],
    ['an age that is none', { ALERT_MAX_AGE: 'long' }, /ALERT_MAX_AGE/],
  ] as [string, Record<string, string>, RegExp][]) {
    it(`is refused before anything starts: ${what}`, () => {
      assert.throws(
        () => alerts(env),
        (error: Error & { code?: string }) => {
          assert.equal(error.code, 'BAD_SETTING')
          assert.match(error.message, says)
          assert.ok(!error.message.includes('secret'), error.message)
          return true
        },
      )
    })
  }
})

describe('KAFKA_BROKERS', () => {
  const KAFKA = { KAFKA_BROKERS: 'broker:9092' }
  const resolve = (flags: Record<string, unknown>, env = {}): Settings =>
    resolveSettings({ flags, env: { ...KAFKA, ...env }, cwd: tmpdir() })

  it('selects Kafka, and --embedded the disk all the same', () => {
    const { stack, warehouse } = resolve({}, { KAFKA_BROKERS: 'a, b:9093,[::1]:1' })
    assert.deepEqual(stack, {
      kafka: {
        brokers: ['a:9092', 'b:9093', '[::1]:1'],
        sasl: null,
        tls: null,
        compression: 'lz4',
        sessionTimeoutMs: 10_000,
      },
      redis: null,
      registry: null,
    } satisfies Settings['stack'])
    assert.equal(warehouse, 'millrace-data')
    assert.equal(resolve({ embedded: true }).stack, null)
    assert.equal(resolve({}, { MILLRACE_EMBEDDED: '1' }).stack, null)
  })

  it('has tables where --warehouse says, which embedded says nothing', () => {
    assert.equal(resolve({ warehouse: 'w' }).warehouse, 'w')
    for (const flags of [{ warehouse: 'w', embedded: true }]) {
      assert.throws(() => resolve(flags), { code: 'BAD_SETTING', message: /--warehouse \(w\).*--data-dir/ })
    }
    assert.throws(() => resolveSettings({ flags: { warehouse: 'w' }, env: {}, cwd: tmpdir() }), {
      code: 'BAD_SETTING',
    })
  })

  it('lets queries look where the tables are, in either setting', () => {
    const directory = (flags: Record<string, unknown>, env: Record<string, string> = {}): string =>
      tablesDirectory({ flags, env: { ...KAFKA, ...env }, cwd: tmpdir() })
    assert.equal(directory({}), 'millrace-data')
    assert.equal(directory({}, { MILLRACE_WAREHOUSE: 'w', MILLRACE_DATA_DIR: 'd' }), 'w')
    assert.equal(directory({ dataDir: 'flag' }, { MILLRACE_WAREHOUSE: 'w' }), 'flag')
    assert.equal(directory({ warehouse: 'flag' }), 'flag')
    assert.equal(directory({}, { MILLRACE_DATA_DIR: 'd' }), 'd')
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

describe('the settings of servers', () => {
  let cwd: string
  beforeEach(() => {
    cwd = mkdtempSync(join(tmpdir(), 'millrace-settings-'))
    for (const name of ['ca', 'cert', 'key']) writeFileSync(join(cwd, `${name}.pem`), `the ${name}`)
  })
  afterEach(() => rmSync(cwd, { recursive: true, force: true }))

  const stackOf = (env: Record<string, string>): NonNullable<Settings['stack']> =>
    resolveSettings({ flags: {}, env: { KAFKA_BROKERS: 'b:1', ...env }, cwd }).stack!
  const SASL = {
    KAFKA_SASL_MECHANISM: 'SCRAM-SHA-512',
    KAFKA_SASL_USERNAME: 'me',
    KAFKA_SASL_PASSWORD: 'hush',
  }

  it('are credentials and certificates, which are read where they are named', () => {
    const { kafka, redis, registry } = stackOf({
      ...SASL,
      KAFKA_TLS_CA: 'ca.pem',
      KAFKA_TLS_CERT: 'cert.pem',
      KAFKA_TLS_KEY: join(cwd, 'key.pem'),
      KAFKA_TLS_SERVER_NAME: 'kafka.local',
      KAFKA_COMPRESSION: 'zstd',
      KAFKA_SESSION_TIMEOUT_MS: '6000',
      REDIS_URL: 'rediss://me:hush@redis',
      REDIS_TLS_CA: 'ca.pem',
      REDIS_KEY_PREFIX: 'us:',
      SCHEMA_REGISTRY_URL: 'https://registry/apis/ccompat/v7/',
      SCHEMA_REGISTRY_USERNAME: 'me',
      SCHEMA_REGISTRY_PASSWORD: 'hush',
    })
    assert.deepEqual(kafka, {
      brokers: ['b:1'],
      sasl: { mechanism: 'scram-sha-512', username: 'me', password: 'hush' },
      tls: { ca: 'the ca', cert: 'the cert', key: 'the key', serverName: 'kafka.local' },
      compression: 'zstd',
      sessionTimeoutMs: 6_000,
    })
    assert.deepEqual(redis, {
      url: 'rediss://me:hush@redis',
      tls: { ca: 'the ca', cert: null, key: null, serverName: null },
      keyPrefix: 'us:',
    })
    assert.deepEqual(registry, {
      url: 'https://registry/apis/ccompat/v7',
      auth: { username: 'me', password: 'hush' },
    })
  })

  it("may ask for TLS by the system's own authorities", () => {
    const nothing = { ca: null, cert: null, key: null, serverName: null }
    assert.deepEqual(stackOf({ KAFKA_TLS_ENABLED: 'true' }).kafka.tls, nothing)
    assert.equal(stackOf({ KAFKA_TLS_ENABLED: 'false' }).kafka.tls, null)
  })

  for (const [what, env, message] of [
    ['brokers with a scheme', { KAFKA_BROKERS: 'kafka://b:1' }, /KAFKA_BROKERS is "kafka:.*without a scheme/],
    ['a port that is none', { KAFKA_BROKERS: 'b:70000' }, /KAFKA_BROKERS is "b:70000"/],
    ['an empty broker', { KAFKA_BROKERS: 'a,,b' }, /KAFKA_BROKERS/],
    [
      'a mechanism that is none',
      { ...SASL, KAFKA_SASL_MECHANISM: 'md5' },
      /"md5": it must be one of plain, sc/,
    ],
    [
      'half of the credentials',
      { ...SASL, KAFKA_SASL_PASSWORD: '' },
      /belong together: give all three or none/,
    ],
    [
      'a certificate without its key',
      { KAFKA_TLS_CERT: 'cert.pem' },
      /KAFKA_TLS_CERT and KAFKA_TLS_KEY belong/,
    ],
    [
      'a file that is not there',
      { KAFKA_TLS_CA: 'no.pem' },
      /KAFKA_TLS_CA names .*no\.pem, which cannot be read/,
    ],
    [
      'certificates and no TLS',
      { KAFKA_TLS_ENABLED: '0', KAFKA_TLS_CA: 'ca.pem' },
      /KAFKA_TLS_ENABLED is false/,
    ],
    [
      'certificates for a Redis without TLS',
      { REDIS_URL: 'redis://r', REDIS_TLS_CA: 'ca.pem' },
      /begin it with redi/,
    ],
    [
      'an instance that is no name',
      { MILLRACE_INSTANCE: 'a b' },
      /MILLRACE_INSTANCE is "a b": it must be 1 to 128/,
    ],
    ['half of the registry credentials', { SCHEMA_REGISTRY_USERNAME: 'x' }, /give both or none/],
    [
      'a registry that is no address',
      { SCHEMA_REGISTRY_URL: 'registry:8081' },
      /an address as http:\/\/host:port/,
    ],
  ] as const) {
    it(`that cannot be are refused: ${what}`, () => {
      assert.throws(() => stackOf(env), { code: 'BAD_SETTING', message })
    })
  }

  it('are never repeated where they hold a secret', () => {
    for (const env of [
      { SCHEMA_REGISTRY_URL: 'http://me:hush@registry' },
      { KAFKA_BROKERS: 'me:hush@b:1' },
      { SCHEMA_REGISTRY_URL: 'ftp://me:hush@registry' },
      { ...SASL, KAFKA_SASL_USERNAME: '' },
    ]) {
      assert.throws(
        () => stackOf(env),
        (error: Error) => !error.message.includes('hush'),
      )
    }
    writeFileSync(join(cwd, 'millrace.json'), '{"rate": hush}')
    assert.throws(
      () => stackOf({}),
      (error: Error) => /is not JSON/.test(error.message) && !error.message.includes('hush'),
    )
  })

  it('with secrets come from the environment alone', () => {
    writeFileSync(join(cwd, 'millrace.json'), '{"redisUrl": "redis://:hush@r"}')
    assert.throws(() => stackOf({}), { message: /unknown setting 'redisUrl'/ })
  })
})
