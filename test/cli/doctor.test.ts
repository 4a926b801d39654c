import assert from 'node:assert/strict'
import { chmodSync, mkdirSync, mkdtempSync, rmSync, utimesSync, writeFileSync } from 'node:fs'
import { createServer, type Server } from 'node:http'
import { createServer as createTcpServer, type AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import kafkajs, { type AclOperationTypes, type AclResourceTypes } from 'kafkajs'
import { modulesCheck, scriptsCheck } from '../../cli/doctor/installation.ts'
import { resolveSettings } from '../../cli/settings/settings.ts'
import { inspectTopics } from '../../cli/wire/servers.ts'
import { startKafka, startRedis, type KafkaServers, type RedisServers } from '../../deploy/stack/servers.ts'
import { ownServer, sharedKafka, sharedRedis } from '../support/servers.ts'
import { writeRenamedPipeline } from './renamed-pipeline.ts'
import { millrace } from './support.ts'

const ACL = kafkajs.AclResourceTypes

interface Finding {
  readonly check: string
  readonly status: string
  readonly message: string
  readonly mend: string | null
}

describe('millrace doctor', () => {
  let cwd: string
  before(() => {
    cwd = mkdtempSync(join(tmpdir(), 'millrace-doctor-'))
  })
  after(() => rmSync(cwd, { recursive: true, force: true }))

  const doctor = async (
    args: readonly string[],
    env: Readonly<Record<string, string>> = {},
  ): Promise<{ exitCode: number; findings: Finding[]; of: (check: string) => Finding }> => {
    const { exitCode, stdout, stderr } = await millrace(['doctor', ...args, '--json'], { cwd, env })
    assert.equal(stderr, '')
    const { findings, status } = JSON.parse(stdout) as { findings: Finding[]; status: string }
    assert.equal(exitCode, status === 'error' ? 1 : 0)
    const of = (check: string): Finding => {
      const found = findings.filter((finding) => finding.check === check)
      const worst = ['error', 'warning', 'ok', 'skipped'].flatMap((each) =>
        found.filter((f) => f.status === each),
      )
      assert.ok(worst[0] !== undefined, `no finding of '${check}': ${stdout}`)
      return worst[0]
    }
    return { exitCode, findings, of }
  }

  describe('on the local disk', () => {
    it('is content with a directory that is there or can be made', async () => {
      const { exitCode, findings, of } = await doctor([])
      assert.equal(exitCode, 0)
      assert.deepEqual(
        findings.map(({ check }) => check),
        ['node', 'installation', 'npm scripts', 'data directory', 'data', 'clock'],
      )
      assert.match(of('data directory').message, /millrace-data \(will be made\): [\d,]+ MiB free/)
    })

    it('prints a line a finding, with what to do below those that are not well', async () => {
      writeFileSync(join(cwd, 'file'), '')
      const { exitCode, stdout } = await millrace(['doctor', '--data-dir', 'file/data'], { cwd })
      assert.equal(exitCode, 1)
      assert.match(
        stdout,
        /^✓ node +Node [\d.]+\n[^]*✗ data directory +.*\n +→ .*\n[^]*\n\n1 error, 0 warnings\.\n$/,
      )
    })

    it('says that a directory cannot be written to, and the command that mends it', async function () {
      // Root may write everywhere.
      if (process.getuid?.() === 0) this.skip()
      const directory = join(cwd, 'locked')
      mkdirSync(directory)
      chmodSync(directory, 0o500)
      const { of } = await doctor(['--data-dir', directory])
      assert.equal(of('data directory').status, 'error')
      assert.match(of('data directory').mend!, /^chown .* locked/)
    })

    it('looks at what is in the directory, and says how to mend what is damaged', async () => {
      const directory = join(cwd, 'damaged')
      for (const part of ['log', 'state']) {
        mkdirSync(join(directory, part), { recursive: true })
        writeFileSync(join(directory, part, 'data.mdb'), 'something else '.repeat(1_000))
      }
      writeFileSync(join(directory, 'warehouse.duckdb'), 'something else')
      const { exitCode, findings } = await doctor(['--data-dir', directory])
      assert.equal(exitCode, 1)
      const mends = findings.filter(({ status }) => status === 'error').map(({ mend }) => mend)
      assert.equal(mends.length, 3)
      assert.match(mends[0]!, /^Restore .*damaged from a copy, or mv /)
      assert.match(mends[1]!, /^rm -r .*state /)
      assert.match(mends[2]!, /mv .*warehouse\.duckdb /)
    })

    it('warns of a clock that stands before what was written', async () => {
      const directory = join(cwd, 'later')
      mkdirSync(directory)
      const file = join(directory, 'warehouse.duckdb')
      writeFileSync(file, `${'\0'.repeat(8)}DUCK`)
      const later = new Date(Date.now() + 3_600_000)
      utimesSync(file, later, later)
      const { of } = await doctor(['--data-dir', directory])
      assert.equal(of('clock').status, 'warning')
      assert.match(of('clock').message, /the clock was set back/)
      assert.match(of('clock').mend!, /^timedatectl/)
    })

    it('says which module npm has not brought along, and that it held a script back', async () => {
      const load = (name: string): Promise<unknown> =>
        name === 'lmdb'
          ? Promise.reject(new Error('No native build was found\nfor this'))
          : Promise.resolve({})
      const [broken] = await modulesCheck(load).run()
      assert.equal(broken!.status, 'error')
      assert.match(
        broken!.message,
        /^lmdb cannot be loaded \(No native build was found\), and the embedded log/,
      )
      assert.match(broken!.mend!, /npm rebuild lmdb$/)
      const root = join(cwd, 'checkout')
      mkdirSync(join(root, 'node_modules', 'node'), { recursive: true })
      assert.equal((await scriptsCheck(join(cwd)).run())[0]!.status, 'ok')
      writeFileSync(
        join(root, 'node_modules', 'node', 'package.json'),
        '{"name": "node", "version": "24.0.0"}',
      )
      const [held] = await scriptsCheck(root).run()
      assert.equal(held!.status, 'warning')
      assert.match(held!.mend!, /^npm rebuild node/)
    })

    it('warns of a metrics port that somebody has', async () => {
      const server = createTcpServer()
      await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
      const { port } = server.address() as AddressInfo
      try {
        const taken = await doctor(['--metrics-port', String(port)])
        assert.equal(taken.of('metrics port').status, 'warning')
        assert.match(taken.of('metrics port').message, new RegExp(`127\\.0\\.0\\.1:${port} is taken`))
        assert.equal(taken.exitCode, 0)
      } finally {
        server.close()
      }
      assert.equal((await doctor(['--metrics-port', String(port)])).of('metrics port').status, 'ok')
    })
  })

  it('gives one finding for each server that is not there', async () => {
    const { exitCode, findings } = await doctor(['orders'], {
      KAFKA_BROKERS: '127.0.0.1:1',
      REDIS_URL: 'redis://:secret@127.0.0.1:2',
      SCHEMA_REGISTRY_URL: 'http://127.0.0.1:3',
    })
    assert.equal(exitCode, 1)
    const failed = findings.filter(({ status }) => status === 'error')
    assert.deepEqual(
      failed.map(({ check }) => check),
      ['kafka', 'redis', 'schema registry'],
    )
    for (const { message } of failed) assert.match(message, /ECONNREFUSED/)
    assert.ok(!JSON.stringify(findings).includes('secret'))
  })

  it('knows a listener that is silent', async () => {
    const server = createTcpServer()
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
    try {
      const { port } = server.address() as AddressInfo
      const { of } = await doctor([], { KAFKA_BROKERS: `127.0.0.1:${port}` })
      assert.equal(of('kafka').status, 'error')
      assert.match(of('kafka').message, /no answer/)
    } finally {
      server.close()
    }
  })

  describe('with a schema registry', () => {
    let server: Server
    let answers: Readonly<Record<string, readonly [number, string]>>
    let authorization: string | undefined
    let env: Record<string, string>
    before(async () => {
      server = createServer((request, response) => {
        authorization = request.headers.authorization
        const [status, body] = answers[request.url!] ?? [404, '{}']
        response.writeHead(status, { 'content-type': 'application/json' }).end(body)
      })
      await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
      const { port } = server.address() as AddressInfo
      env = { KAFKA_BROKERS: '127.0.0.1:1', SCHEMA_REGISTRY_URL: `http://127.0.0.1:${port}` }
    })
    after(() => server.close())

    it('is content where schemas are compared', async () => {
      answers = { '/subjects': [200, '["a"]'], '/config': [200, '{"compatibilityLevel": "BACKWARD"}'] }
      const { of } = await doctor([], {
        ...env,
        SCHEMA_REGISTRY_USERNAME: 'me',
        SCHEMA_REGISTRY_PASSWORD: 'pw',
      })
      assert.equal(of('schema registry').status, 'ok')
      assert.match(of('schema registry').message, /1 subjects?, compatibility BACKWARD/)
      assert.equal(authorization, `Basic ${Buffer.from('me:pw').toString('base64')}`)
    })

    it('warns where nothing is compared, with the command that mends it', async () => {
      answers = { '/subjects': [200, '[]'], '/config': [200, '{"compatibilityLevel": "NONE"}'] }
      const { of } = await doctor([], env)
      assert.equal(of('schema registry').status, 'warning')
      assert.match(of('schema registry').mend!, /^curl -X PUT .*BACKWARD/)
    })

    it('tells a refused log-in from an address that is no registry', async () => {
      answers = { '/subjects': [401, '{}'] }
      assert.match((await doctor([], env)).of('schema registry').message, /does not let us in \(HTTP 401\)/)
      answers = { '/subjects': [200, '<html>'] }
      assert.match((await doctor([], env)).of('schema registry').message, /does not speak Confluent's API/)
    })
  })

  describe('on Kafka and Redis', () => {
    let env: Record<string, string>
    before(async function () {
      const { brokers } = await sharedKafka(this)
      const { url } = await sharedRedis(this)
      env = { KAFKA_BROKERS: brokers, REDIS_URL: url }
    })

    it('finds nothing wrong once the topics are provisioned, and something missing before', async () => {
      const { file, name } = writeRenamedPipeline(cwd)
      const before = await doctor([file], env)
      assert.equal(before.exitCode, 0)
      assert.match(before.of('kafka topics').message, /\d+ topics are missing .*; run makes them/)
      assert.equal(before.of('kafka topics').mend, `millrace provision ${file}`)
      assert.equal((await millrace(['provision', file, '--yes'], { cwd, env })).exitCode, 0)
      const { exitCode, of } = await doctor([file], env)
      assert.equal(exitCode, 0)
      for (const check of [
        'kafka transactions',
        'kafka clock',
        'kafka sweep',
        'kafka rights',
        'kafka topics',
        'redis',
      ]) {
        assert.equal(of(check).status, 'ok', check)
      }
      assert.match(of('kafka transactions').message, new RegExp(`${name}-process-doctor`))
    })

    it('says which setting of which topic loses state, and what mends it', async () => {
      const { file, name } = writeRenamedPipeline(cwd)
      assert.equal((await millrace(['provision', file, '--yes'], { cwd, env })).exitCode, 0)
      const inspector = await inspectTopics(resolveSettings({ flags: {}, env, cwd }).stack!.kafka)
      try {
        await inspector.change([{ name: `${name}.orders-changelog`, set: { 'cleanup.policy': 'delete' } }])
      } finally {
        inspector.close()
      }
      let found = await doctor([file], env)
      // The controller knows it at once, the broker that is asked a little later.
      while (found.of('kafka topics').status === 'ok') found = await doctor([file], env)
      assert.equal(found.exitCode, 1)
      assert.match(
        found.of('kafka topics').message,
        /orders-changelog: cleanup\.policy is delete, not compact/,
      )
      assert.equal(found.of('kafka topics').mend, `millrace provision ${file}`)
    })
  })

  describe('where something is wrong', () => {
    const USER = 'app'
    let kafka: KafkaServers
    let evicting: RedisServers
    let env: Record<string, string>
    let file: string
    let name: string
    before(async function () {
      kafka = await ownServer(this, () =>
        startKafka({
          sasl: { users: { [USER]: 'right' } },
          acls: true,
          settings: { 'transaction.abort.timed.out.transaction.cleanup.interval.ms': '10000' },
        }),
      )
      evicting = await ownServer(this, () =>
        startRedis({ settings: { 'maxmemory-policy': 'allkeys-lru', maxmemory: '50mb' } }),
      )
      const internal = { KAFKA_BROKERS: kafka.internalBrokers.join(',') }
      ;({ file, name } = writeRenamedPipeline(cwd))
      assert.equal((await millrace(['provision', file, '--yes'], { cwd, env: internal })).exitCode, 0)
      env = {
        ...kafka.env,
        ...evicting.env,
        KAFKA_SASL_MECHANISM: 'scram-sha-256',
        KAFKA_SASL_USERNAME: USER,
        KAFKA_SASL_PASSWORD: 'right',
      }
    })
    after(async () => {
      await Promise.all([kafka.stop(), evicting.stop()])
    })

    it('says that Redis evicts, and the command that mends it', async () => {
      const { exitCode, of } = await doctor([file], env)
      assert.equal(exitCode, 1)
      assert.equal(of('redis').status, 'error')
      assert.match(of('redis').message, /evicts keys .*allkeys-lru/)
      assert.match(of('redis').mend!, /^CONFIG SET maxmemory-policy noeviction/)
    })

    it('says that the password is wrong, once', async () => {
      const { findings, of } = await doctor([file], { ...env, KAFKA_SASL_PASSWORD: 'wrong' })
      assert.equal(findings.filter(({ check }) => check.startsWith('kafka')).length, 1)
      assert.match(of('kafka').message, /refused the log-in by scram-sha-256/)
      assert.match(of('kafka').mend!, /KAFKA_SASL_PASSWORD/)
      assert.ok(!JSON.stringify(findings).includes('wrong"'))
    })

    it('suspects a missing log-in, or TLS where there is none', async () => {
      const withoutLogIn = await doctor([file], { ...kafka.env, ...evicting.env })
      assert.match(withoutLogIn.of('kafka').message, /we came without a log-in and without TLS/)
      const withTls = await doctor([file], { ...env, KAFKA_TLS_ENABLED: 'true' })
      assert.match(withTls.of('kafka').message, /we came with a log-in by scram-sha-256 and with TLS/)
    })

    it('names each right that lacks with the command that grants it, until all are there', async () => {
      const none = await doctor([file], env)
      assert.match(
        none.of('kafka transactions').message,
        /transactional ids that begin with .* may not be used/,
      )
      assert.equal(
        none.of('kafka transactions').mend,
        `kafka-acls.sh --bootstrap-server ${kafka.env.KAFKA_BROKERS} --add --allow-principal 'User:${USER}' ` +
          `--operation Write --operation Describe --transactional-id '${name}-' --resource-pattern-type prefixed`,
      )
      assert.match(
        none.of('kafka rights').message,
        /^read, write, describe, delete not allowed on .* and \d+ other topics$/,
      )
      assert.equal(none.of('kafka sweep').status, 'skipped')
      assert.equal(none.of('kafka topics').status, 'skipped')
      assert.ok(none.findings.some(({ mend }) => mend?.endsWith("--topic '_millrace-schemas'") === true))

      await grant(ACL.TRANSACTIONAL_ID, `${name}-`, ['WRITE', 'DESCRIBE'])
      await grant(ACL.TOPIC, `${name}.`, ['READ', 'WRITE', 'DELETE', 'DESCRIBE_CONFIGS'])
      await grant(ACL.TOPIC, '_millrace-schemas', ['READ', 'WRITE', 'DESCRIBE_CONFIGS'])
      await grant(ACL.CLUSTER, 'kafka-cluster', ['DESCRIBE_CONFIGS'])
      // The controller has them at once, the broker that is asked a little later.
      let withoutGroup = await doctor([file], env)
      while (
        withoutGroup.of('kafka rights').status !== 'ok' ||
        withoutGroup.of('kafka topics').status !== 'ok' ||
        withoutGroup.of('kafka transactions').message.startsWith('transactional ids')
      ) {
        withoutGroup = await doctor([file], env)
      }
      assert.match(withoutGroup.of('kafka transactions').message, /groups that begin with .* may not be used/)
      assert.match(
        withoutGroup.of('kafka transactions').mend!,
        new RegExp(`--operation Read --group '${name}\\.'`),
      )

      await grant(ACL.GROUP, `${name}.`, ['READ'])
      let all = await doctor([file], env)
      while (all.of('kafka transactions').status !== 'ok') all = await doctor([file], env)
      assert.equal(all.of('kafka clock').status, 'ok')
    })

    it('warns of a sweep that leaves the tasks of a dead process waiting', async () => {
      const { of } = await doctor([], { KAFKA_BROKERS: kafka.internalBrokers.join(','), ...evicting.env })
      assert.equal(of('kafka sweep').status, 'warning')
      assert.match(of('kafka sweep').message, /swept every 10 s/)
      assert.match(of('kafka sweep').mend!, /cleanup\.interval\.ms=1000/)
      assert.match(of('kafka rights').message, /name a pipeline/)
    })

    async function grant(
      resourceType: AclResourceTypes,
      resourceName: string,
      operations: readonly (keyof typeof AclOperationTypes)[],
    ): Promise<void> {
      const brokers = [...kafka.internalBrokers]
      const admin = new kafkajs.Kafka({ brokers, logLevel: kafkajs.logLevel.NOTHING }).admin()
      await admin.connect()
      try {
        await admin.createAcls({
          acl: operations.map((operation) => ({
            resourceType,
            resourceName,
            resourcePatternType: kafkajs.ResourcePatternTypes.PREFIXED,
            principal: `User:${USER}`,
            host: '*',
            operation: kafkajs.AclOperationTypes[operation],
            permissionType: kafkajs.AclPermissionTypes.ALLOW,
          })),
        })
      } finally {
        await admin.disconnect()
      }
    }
  })
})
