import assert from 'node:assert/strict'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { makeCertificates } from '../../../deploy/stack/certificates.ts'
import type { Notice } from '../../../sinks/notify/notice.ts'
import { Smtp, type SmtpOptions } from '../../../sinks/smtp/smtp.ts'
import { NoticeBench } from '../notify/support.ts'
import { MailServer, silentServer } from './server.ts'
import { until } from '../../support/until.ts'

const NOTICE: Notice = {
  key: 'orders/order-alerts/SPIKE/2026-11-21T14:05:00.000Z',
  severity: 'error',
  pipeline: 'orders',
  text: 'SPIKE: 1204 orders in five minutes',
  offset: 1,
  window: { startMs: Date.UTC(2026, 10, 21, 14, 5), endMs: Date.UTC(2026, 10, 21, 14, 10) },
  run: null,
}

function smtp(port: number, options: Partial<SmtpOptions> = {}): Smtp {
  return new Smtp({
    host: '127.0.0.1',
    port,
    secure: false,
    requireTls: false,
    auth: null,
    ca: null,
    from: 'Millrace <alerts@shop.example>',
    to: ['ops@shop.example', 'Night <night@shop.example>'],
    ...options,
  })
}

const failsAs = (code: string, message: RegExp) => (error: unknown) => {
  const { code: found, message: words } = error as { code: string; message: string }
  assert.equal(found, code, words)
  assert.match(words, message)
  return true
}

describe('mail', () => {
  let server: MailServer
  beforeEach(async () => (server = await new MailServer().listen()))
  afterEach(() => server.close())

  it('is one to all addresses, with a Message-ID that is the same each time', async () => {
    const channel = smtp(server.port)
    await channel.send(NOTICE)
    await channel.send(NOTICE)
    await channel.send({ ...NOTICE, key: 'another' })
    const [first, second, third] = server.mails
    assert.deepEqual(first!.to, ['ops@shop.example', 'night@shop.example'])
    assert.equal(first!.from, 'alerts@shop.example')
    assert.match(first!.source, /^Subject: \[orders\] SPIKE: 1204 orders in five minutes\r$/m)
    assert.match(first!.source, /^SPIKE: 1204 orders in five minutes \(2026-11-21 14:05 to 14:10 UTC\)\.\r$/m)
    assert.match(
      first!.source,
      /^Idempotency-Key: orders\/order-alerts\/SPIKE\/2026-11-21T14:05:00\.000Z\r$/m,
    )
    const id = ({ source }: { source: string }): string =>
      /^Message-ID: (<.+@shop\.example>)\r$/m.exec(source)![1]!
    assert.equal(id(first!), id(second!))
    assert.notEqual(id(first!), id(third!))
    assert.equal(
      channel.description,
      `mail to ops@shop.example, Night <night@shop.example> by 127.0.0.1:${server.port}`,
    )
  })

  it('that cannot be sent now is told from what is refused for good', async () => {
    const channel = smtp(server.port)
    server.onMail = () => ({ code: 451, text: 'try later' })
    await assert.rejects(channel.send(NOTICE), failsAs('NOT_DELIVERED', /answered 451 try later/))
    server.onMail = () => ({ code: 554, text: 'no spam here' })
    await assert.rejects(channel.send(NOTICE), failsAs('REFUSED', /answered 554 no spam here/))
    server.onMail = () => 'take'
    server.onRecipient = () => ({ code: 550, text: 'no such user' })
    await assert.rejects(channel.send(NOTICE), failsAs('REFUSED', /550 no such user/))
    server.onRecipient = (address) =>
      address.startsWith('ops') ? { code: 550, text: 'no such user' } : 'take'
    await channel.send(NOTICE)
    assert.deepEqual(server.mails[0]!.to, ['night@shop.example'])
    await server.close()
    await assert.rejects(channel.send(NOTICE), failsAs('NOT_DELIVERED', /could not be used \(.*ECONNREFUSED/))
  })

  it('does not wait for a server that hangs, wherever it does', async () => {
    const silent = await silentServer()
    const hasted = (port: number): Smtp => smtp(port, { timeoutMs: 200 })
    await assert.rejects(hasted(silent.port).send(NOTICE), failsAs('NOT_DELIVERED', /did not answer in time/))
    await silent.close()
    server.onConnect = () => 'hang'
    await assert.rejects(hasted(server.port).send(NOTICE), failsAs('NOT_DELIVERED', /did not answer in time/))
    server.onConnect = () => 'take'
    server.onMail = () => 'hang'
    await assert.rejects(hasted(server.port).send(NOTICE), failsAs('NOT_DELIVERED', /did not answer in time/))
    server.onMail = () => 'take and cut'
    await assert.rejects(smtp(server.port).send(NOTICE), failsAs('NOT_DELIVERED', /could not be used/))
  })

  it('arrives, each under its key, by a server that fails now and then', async () => {
    const bench = await NoticeBench.create()
    const answers = ['hang', 'take', { code: 452, text: 'full' }, 'take and cut', 'take'] as const
    let asked = 0
    server.onMail = () => answers[asked++] ?? 'take'
    const runner = bench.sinks.start(bench.notifier(smtp(server.port, { timeoutMs: 2_000 })))
    await bench.produce('SPIKE', [6, 5, 4])
    await bench.produce('DROP', [3])
    await until(() => server.mails.length > 1, 'two mails')
    await server.close()
    await until(() => bench.sinks.events.at(-1)?.kind === 'waiting', 'the wait')
    await server.listen()
    await bench.sinks.drained(runner)
    const subjects = server.mails.map(({ source }) => /^Subject: \[shop\] (\w+)/m.exec(source)![1])
    const ids = server.mails.map(({ source }) => /^Message-ID: (.*)\r$/m.exec(source)![1])
    // Of what was cut off nobody knew that it had been taken.
    assert.deepEqual(subjects, ['SPIKE', 'SPIKE', 'SPIKE', 'DROP'])
    assert.deepEqual([ids[1] === ids[2], new Set(ids).size], [true, 3])
    await bench.close()
  })
})

describe('mail under TLS', () => {
  let directory = ''
  let tls: { key: string; cert: string }
  let ca = ''

  before(async () => {
    directory = mkdtempSync(join(tmpdir(), 'millrace-smtp-'))
    const { keyFile, certFile, caFile } = await makeCertificates(directory)
    tls = { key: readFileSync(keyFile, 'utf8'), cert: readFileSync(certFile, 'utf8') }
    ca = readFileSync(caFile, 'utf8')
  })
  after(() => rmSync(directory, { recursive: true }))

  const auth = { user: 'millrace', password: 'p@ss word' }
  const options = {
    disabledCommands: [],
    authOptional: false,
    onAuth: (
      { username, password }: { username?: string | undefined; password?: string | null | undefined },
      _session: unknown,
      done: (error: Error | null, answer?: { user: string }) => void,
    ) => {
      if (username === auth.user && password === auth.password) done(null, { user: username })
      else done(new Error('Wrong password'))
    },
  }

  for (const secure of [true, false]) {
    it(`is sent ${secure ? 'by a connection under TLS' : 'behind STARTTLS'}, with a password`, async () => {
      const server = await new MailServer({ ...options, ...tls, secure }).listen()
      await smtp(server.port, { secure, requireTls: !secure, auth, ca }).send(NOTICE)
      assert.deepEqual([server.mails[0]!.user, server.mails[0]!.secure], ['millrace', true])
      await assert.rejects(
        smtp(server.port, { secure, auth: { ...auth, password: 'not it' }, ca }).send(NOTICE),
        (error: Error) => failsAs('REFUSED', /answered 535/)(error) && !error.message.includes('not it'),
      )
      await server.close()
    })
  }

  it('is not sent to a server that nobody vouches for, nor in the clear where TLS is required', async () => {
    const server = await new MailServer({ ...options, ...tls, secure: true }).listen()
    await assert.rejects(
      smtp(server.port, { secure: true, auth }).send(NOTICE),
      failsAs('NOT_DELIVERED', /certificate/),
    )
    await server.close()
    const plain = await new MailServer({ ...options, disabledCommands: ['STARTTLS'] }).listen()
    await assert.rejects(
      smtp(plain.port, { requireTls: true, auth }).send(NOTICE),
      failsAs('REFUSED', /answered 500/),
    )
    assert.equal(plain.mails.length, 0)
    await plain.close()
  })
})
