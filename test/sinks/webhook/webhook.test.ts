import assert from 'node:assert/strict'
import { Webhook } from '../../../sinks/webhook/webhook.ts'
import type { Notice } from '../../../sinks/notify/notice.ts'
import { WebhookServer, type Behaviour } from './server.ts'

const NOTICE: Notice = {
  key: 'orders/order-alerts/DROP/2026-11-21T14:05:00.000Z',
  severity: 'error',
  pipeline: 'orders',
  text: 'a < b & c > d',
  offset: 1,
  window: null,
  run: null,
}

describe('a webhook', () => {
  let server: WebhookServer
  beforeEach(async () => (server = await new WebhookServer().listen()))
  afterEach(() => server.close())

  const send = async (
    behaviour: Behaviour,
    timeoutMs = behaviour === 'hang' ? 100 : 60_000,
  ): Promise<{ code: string; message: string; retryAfterMs: number | null }> => {
    server.behave = () => behaviour
    return await new Webhook({ url: server.url, timeoutMs }).send(NOTICE).then(
      () => ({ code: 'delivered', message: '', retryAfterMs: null }),
      (error: unknown) => error as { code: string; message: string; retryAfterMs: number | null },
    )
  }

  it('is posted text as Slack takes it, under the idempotency key', async () => {
    assert.equal((await send(200)).code, 'delivered')
    assert.deepEqual(server.taken, [
      { key: NOTICE.key, text: ':rotating_light: *orders* a &lt; b &amp; c &gt; d' },
    ])
  })

  it('says what it refuses for good, and what may work later', async () => {
    for (const status of [400, 401, 403, 404, 410, 413])
      assert.equal((await send(status)).code, 'REFUSED', String(status))
    for (const status of [408, 425, 429, 500, 502, 503, 504])
      assert.equal((await send(status)).code, 'NOT_DELIVERED', String(status))
    for (const how of ['hang', 'cut', 'take and cut'] as const)
      assert.equal((await send(how)).code, 'NOT_DELIVERED', how)
    await server.close()
    const away = await send(200)
    assert.match(away.message, /cannot be reached \(ECONNREFUSED\)/)
    await server.listen()
  })

  it('is not followed elsewhere: a POST would become a GET', async () => {
    const { code, message } = await send({ status: 302, headers: { location: 'http://127.0.0.1:1/' } })
    assert.equal(code, 'REFUSED')
    assert.match(message, /answered 302: it has moved; set ALERT_WEBHOOK_URL anew/)
  })

  it('may ask for time, in seconds or until a date, within bounds', async () => {
    const wait = async (after: string): Promise<number | null> =>
      (await send({ status: 429, headers: { 'retry-after': after } })).retryAfterMs
    assert.equal(await wait('7'), 7_000)
    const untilDate = await wait(new Date(Date.now() + 60_000).toUTCString())
    assert.ok(untilDate! > 50_000 && untilDate! <= 60_000)
    assert.equal(await wait('999999'), 900_000)
    assert.equal(await wait('soon'), null)
  })

  it('is never named in full: who has its address can post', async () => {
    const channel = new Webhook({ url: server.url })
    assert.match(channel.description, /^webhook at 127\.0\.0\.1:\d+$/)
    const words = [
      await send({ status: 404, body: `no hook at ${server.url} here` }),
      await send(500),
      await send('cut'),
      await send('hang'),
    ]
    for (const { message } of words) assert.ok(!message.includes('secret'), message)
    assert.match(words[0]!.message, /no hook at … here/)
  })

  it('that answers at great length is not listened to for long', async () => {
    const { message } = await send({ status: 400, body: 'x'.repeat(5_000_000) })
    assert.ok(message.length < 400)
  })
})
