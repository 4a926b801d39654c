import assert from 'node:assert/strict'
import { MailServer } from '../sinks/smtp/server.ts'
import { WebhookServer } from '../sinks/webhook/server.ts'
import { rowsOf, Scratch, start, type Started } from './support.ts'

/** The first and the last of each run of equal alerts in consecutive windows, by the table that has all of them. */
async function due(directory: string): Promise<string[]> {
  const rows = (await rowsOf(
    directory,
    `select alert_type, epoch_ms(window_start)::double, epoch_ms(window_end)::double
      from ecommerce_orders.order_alerts order by window_start`,
  )) as [string, number, number][]
  return rows
    .filter(([kind, from, to], i) => {
      const [before, after] = [rows[i - 1], rows[i + 1]]
      const isFirst = before?.[0] !== kind || before[2] !== from
      const isLast = after?.[0] !== kind || after[1] !== to
      return isFirst || isLast
    })
    .map(([kind, from]) => `orders/order-alerts/${kind}/${new Date(from).toISOString()}`)
}

describe('alerts of orders', () => {
  const scratch = new Scratch()
  let hook: WebhookServer
  let mail: MailServer
  let directory: string

  beforeEach(async () => {
    hook = await new WebhookServer().listen()
    mail = await new MailServer().listen()
    directory = scratch.newDirectory()
  })
  afterEach(async () => {
    await hook.close()
    await mail.close()
  })
  after(() => scratch.remove())

  /** Half an hour of orders, by default more in every full window than is usual. */
  const run = (settings: Record<string, string> = {}, count = '14900'): Started =>
    start(
      ['run', 'orders', '--since', '30m', '--count', count, '--exit-when-done', '--data-dir', directory],
      {
        ALERT_WEBHOOK_URL: hook.url,
        SMTP_URL: `smtp://127.0.0.1:${mail.port}`,
        ALERT_EMAIL_FROM: 'millrace@shop.example',
        ALERT_EMAIL_TO: 'ops@shop.example',
        ...settings,
      },
    )
  const keysOfMails = (): string[] =>
    mail.mails.map(({ source }) => decodeURI(/^Key: (.*)\r$/m.exec(source.replaceAll('=\r\n', ''))![1]!))

  it('arrive by webhook and mail: the first and the last of a run, in order, each once', async () => {
    const { exitCode, stdout, stderr } = await run().said
    assert.equal(exitCode, 0, stderr)
    const expected = await due(directory)
    assert.ok(expected.length >= 2)
    assert.deepEqual(
      hook.taken.map(({ key }) => key),
      expected,
    )
    assert.deepEqual(keysOfMails(), expected)
    assert.match(stdout, /process-order-alerts\.webhook \(webhook at 127\.0\.0\.1:\d+\)/)
    assert.ok(!`${stdout}${stderr}`.includes('very-secret'))
    // Every alert is logged, with the key that its notice has.
    const logged = stderr.split('\n').filter((line) => line.includes('"idempotency_key"'))
    const [[alerts]] = (await rowsOf(directory, 'select count(*) from ecommerce_orders.order_alerts')) as [
      [bigint],
    ]
    assert.equal(logged.length, Number(alerts))
    assert.ok(logged[0]!.includes(expected[0]!))
  })

  it('are not sent again by another run, unless a kill came between the delivery and its record', async () => {
    const first = run()
    const killed = Promise.withResolvers<boolean>()
    hook.behave = () => {
      killed.resolve(first.kill('SIGKILL'))
      return 'take and cut'
    }
    assert.equal(await killed.promise, true)
    hook.behave = () => 200
    const { exitCode, stderr } = await run().said
    assert.equal(exitCode, 0, stderr)
    const [repeated, ...rest] = hook.taken.map(({ key }) => key)
    assert.equal(repeated, rest[0])
    assert.deepEqual(rest, await due(directory))
    hook.taken.length = 0
    assert.equal((await run().said).exitCode, 0)
    assert.deepEqual(hook.taken, [])
  })

  it('wait for a webhook and a mail server that fail, while the tables go on', async () => {
    await mail.close()
    let refusals = 3
    hook.behave = () => (refusals-- > 0 ? 503 : 200)
    const running = run()
    await running.prints(/ECONNREFUSED/)
    await mail.listen()
    const { exitCode, stdout, stderr } = await running.said
    assert.equal(exitCode, 0, stderr)
    assert.deepEqual(
      hook.taken.map(({ key }) => key),
      await due(directory),
    )
    assert.deepEqual(keysOfMails(), await due(directory))
    assert.equal(stdout.match(/answered 503\. Nothing is lost/g)?.length, 1)
    assert.equal(stdout.match(/ECONNREFUSED.*Nothing is lost/g)?.length, 1)
  })

  it('that are older than ALERT_MAX_AGE are logged at most, and sent to nobody', async () => {
    const { exitCode, stderr } = await run({ ALERT_MAX_AGE: '1ms' }, '8000').said
    assert.equal(exitCode, 0, stderr)
    assert.deepEqual([hook.taken, mail.mails], [[], []])
    assert.ok(!stderr.includes('idempotency_key'))
  })

  it('are nobody else’s business: a setting that cannot be stops the program before it starts', async () => {
    const { exitCode, stderr, stdout } = await run({ SMTP_URL: 'smtp://user:secret@' }).said
    assert.equal(exitCode, 2)
    assert.match(stderr, /^error BAD_SETTING: the environment's SMTP_URL is not what it can be/)
    assert.ok(!stderr.includes('secret') && stdout === '')
  })
})
