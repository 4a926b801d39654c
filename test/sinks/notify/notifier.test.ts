import assert from 'node:assert/strict'
import fc from 'fast-check'
import type { Channel } from '../../../sinks/notify/channel.ts'
import type { Notice } from '../../../sinks/notify/notice.ts'
import type { Notifier } from '../../../sinks/notify/notifier.ts'
import { Webhook } from '../../../sinks/webhook/webhook.ts'
import { WebhookServer } from '../webhook/server.ts'
import { NoticeBench, SIZE_MS } from './support.ts'
import { until } from '../../support/until.ts'

/** `SPIKE/1`: the alert of the window that ended last when the test began. */
function short(bench: NoticeBench, { key }: { readonly key: string }): string {
  const [kind, start] = key.split('/').slice(-2)
  return `${kind!}/${(bench.startMs - Date.parse(start!)) / SIZE_MS}`
}

describe('a notifier', () => {
  let bench: NoticeBench
  let server: WebhookServer

  beforeEach(async () => {
    bench = await NoticeBench.create()
    server = await new WebhookServer().listen()
  })
  afterEach(async () => {
    await bench.close()
    await server.close()
  })

  const notifier = (options: Parameters<NoticeBench['notifier']>[1] = {}): Notifier =>
    bench.notifier(new Webhook({ url: server.url }), options)
  const taken = (): string[] => server.taken.map((received) => short(bench, received))

  it('sends the first at once and the last when another kind follows, in order', async () => {
    const runner = bench.sinks.start(notifier())
    await bench.produce('SPIKE', [6])
    await bench.sinks.drained(runner)
    assert.deepEqual(taken(), ['SPIKE/6'])
    await bench.produce('SPIKE', [5, 4, 3])
    await bench.produce('DROP', [2])
    await bench.sinks.drained(runner)
    assert.deepEqual(taken(), ['SPIKE/6', 'SPIKE/3', 'DROP/2'])
    assert.match(server.taken[0]!.text, /^:warning: \*shop\* SPIKE &lt;in&gt; IE \(.* UTC\)$/)
    assert.match(server.taken[1]!.text, /, the last of 4 such windows in a row since .* UTC$/)
  })

  it('sends none older than an hour: of a long run, the first that is not', async () => {
    const runner = bench.sinks.start(notifier())
    // The window 13 back ended an hour ago exactly.
    await bench.produce('SPIKE', [40, 39, 15, 14, 13, 12, 11])
    await bench.produce('DROP', [1])
    await bench.sinks.drained(runner)
    assert.deepEqual(taken(), ['SPIKE/13', 'SPIKE/11', 'DROP/1'])
    assert.equal(bench.events.filter((kind) => kind === 'too-old').length, 4)
  })

  it('sends the last when nothing has gone on with the run for two windows', async () => {
    const runner = bench.sinks.start(notifier())
    await bench.produce('SPIKE', [2, 1])
    await bench.sinks.drained(runner)
    bench.clock.now += 2 * SIZE_MS - 1
    await new Promise((resolve) => setTimeout(resolve, 50))
    assert.deepEqual(taken(), ['SPIKE/2'])
    bench.clock.now += 1
    await until(() => taken().length === 2, 'the last')
    assert.deepEqual(taken(), ['SPIKE/2', 'SPIKE/1'])
  })

  it('sends the last when the input has ended, and again only what is new', async () => {
    const runner = bench.sinks.start(notifier())
    await bench.produce('SPIKE', [5, 4])
    await bench.sinks.drained(runner)
    await runner.flush()
    await runner.flush()
    await bench.produce('SPIKE', [3, 2])
    await bench.sinks.drained(runner)
    await runner.flush()
    assert.deepEqual(taken(), ['SPIKE/5', 'SPIKE/4', 'SPIKE/2'])
  })

  it('knows after a restart what was sent, and which run it was in', async () => {
    await bench.produce('SPIKE', [6, 5])
    const first = bench.sinks.start(notifier())
    await bench.sinks.drained(first)
    await bench.sinks.stop(first)
    await bench.produce('SPIKE', [4])
    await bench.produce('DROP', [3])
    await bench.sinks.drained(bench.sinks.start(notifier()))
    assert.deepEqual(taken(), ['SPIKE/6', 'SPIKE/4', 'DROP/3'])
    assert.match(server.taken[1]!.text, /the last of 3 such windows/)
  })

  it('gives each group runs of its own, and closes the quietest for one too many', async () => {
    const notify = { text: () => 'x', runsOf: ['alert_type'], per: ['country'] }
    const alerts = { application: 'shop', topic: 'alerts', notify }
    const runner = bench.sinks.start(notifier({ alerts, maxGroups: 2 }))
    for (const [country, back] of [
      ['IE', [9, 8]],
      ['DE', [9, 8]],
      ['FR', [9]],
      ['DE', [7]],
      ['FR', [7]],
    ] as const) {
      await bench.produce('SPIKE', back, country)
      await bench.sinks.drained(runner)
      bench.clock.now += 1
    }
    await runner.flush()
    const groups = server.taken.map(({ key }) => key.split('/').slice(2, 4).join('/'))
    assert.deepEqual(groups, ['IE/SPIKE', 'DE/SPIKE', 'IE/SPIKE', 'FR/SPIKE', 'FR/SPIKE', 'DE/SPIKE'])
  })

  it('makes a dead letter of what is refused for good, with the reason, and goes on', async () => {
    server.behave = ({ key }) => (key.includes('SPIKE') ? { status: 404, body: 'no_service' } : 200)
    const runner = bench.sinks.start(notifier())
    await bench.produce('SPIKE', [5])
    await bench.produce('DROP', [3])
    await bench.sinks.drained(runner)
    assert.deepEqual(taken(), ['DROP/3'])
    const letters = await bench.sinks.deadLetters()
    assert.equal(letters.length, 1)
    assert.deepEqual([letters[0]!.source, letters[0]!.position], ['shop.things', 0])
    assert.match(letters[0]!.reason, /^The webhook at 127\.0\.0\.1:\d+ answered 404 \(no_service\)\.$/)
    assert.match(Buffer.from(letters[0]!.payload).toString(), /SPIKE <in> IE/)
    assert.ok(bench.said.some((message) => message.includes('no_service')))
    assert.deepEqual(bench.events, ['refused', 'delivered'])
  })

  it('tries again without end while the webhook is away, says so once, and loses nothing', async () => {
    await server.close()
    const runner = bench.sinks.start(notifier())
    await bench.produce('SPIKE', [4, 3])
    await bench.produce('DROP', [1])
    await until(() => bench.events.length > 10, 'ten failures')
    await server.listen()
    await bench.sinks.drained(runner)
    assert.deepEqual(taken(), ['SPIKE/4', 'SPIKE/3', 'DROP/1'])
    const kinds = bench.sinks.events.map(({ kind }) => kind)
    assert.deepEqual(kinds, ['waiting', 'resumed'])
  })

  it('delivers what it has begun to try, though it grows older than an hour meanwhile', async () => {
    await server.close()
    const runner = bench.sinks.start(notifier())
    await bench.produce('SPIKE', [1])
    await until(() => bench.events.length > 2, 'failures')
    bench.clock.now += 2 * 3_600_000
    await server.listen()
    await bench.sinks.drained(runner)
    assert.deepEqual(taken(), ['SPIKE/1'])
  })

  it('leaves a webhook alone for as long as it asks to', async () => {
    server.behave = () => (server.asked === 1 ? { status: 429, headers: { 'retry-after': '30' } } : 200)
    const runner = bench.sinks.start(notifier())
    await bench.produce('SPIKE', [1])
    await until(() => bench.sinks.events.length > 0, 'the wait')
    await new Promise((resolve) => setTimeout(resolve, 60))
    bench.clock.now += 29_999
    await new Promise((resolve) => setTimeout(resolve, 60))
    assert.equal(server.asked, 1)
    bench.clock.now += 1
    await bench.sinks.drained(runner)
    assert.deepEqual([taken(), server.asked], [['SPIKE/1'], 2])
  })

  it('sends a last again too that could not be delivered when the run was over', async () => {
    const runner = bench.sinks.start(notifier({ random: () => 0.999 }))
    await bench.produce('SPIKE', [2, 1])
    await bench.sinks.drained(runner)
    server.behave = () => 503
    bench.clock.now += 2 * SIZE_MS
    await until(() => bench.events.includes('retried'), 'a failure')
    server.behave = () => 200
    const moving = setInterval(() => (bench.clock.now += 50), 5)
    await until(() => taken().length === 2, 'the last')
    clearInterval(moving)
    assert.deepEqual(taken(), ['SPIKE/2', 'SPIKE/1'])
    await until(() => bench.said.length === 2, 'the word that it goes on')
  })

  it('repeats at most one notice after a death between delivery and record, under its key', async () => {
    await bench.produce('SPIKE', [9, 8])
    await bench.produce('DROP', [6])
    await bench.produce('SPIKE', [4])
    for (let dies = 1; dies <= 4; dies++) {
      const again = await NoticeBench.create()
      server.taken.length = 0
      await again.produce('SPIKE', [9, 8])
      await again.produce('DROP', [6])
      await again.produce('SPIKE', [4])
      const channel = new Webhook({ url: server.url })
      let sent = 0
      const dying: Channel = {
        name: channel.name,
        description: channel.description,
        send: async (notice) => {
          await channel.send(notice)
          if (++sent === dies) throw new Error('killed here')
        },
      }
      const first = again.sinks.start(again.notifier(dying))
      assert.equal((await again.sinks.failureOf(first)).message, 'killed here')
      await again.sinks.drained(again.sinks.start(again.notifier(channel)))
      const order = ['SPIKE/9', 'SPIKE/8', 'DROP/6', 'SPIKE/4']
      order.splice(dies, 0, order[dies - 1]!)
      assert.deepEqual(
        server.taken.map((received) => short(again, received)),
        order,
      )
      await again.close()
    }
  })

  it('whatever fails and whenever it is restarted: all, in order, repetitions under equal keys', async () => {
    const failures = fc.array(fc.constantFrom(200, 200, 500, 503, 408, 'cut', 'take and cut'), {
      maxLength: 30,
    })
    const kinds = fc.array(fc.constantFrom('SPIKE', 'DROP', null), { minLength: 1, maxLength: 12 })
    await fc.assert(
      fc.asyncProperty(
        failures,
        kinds,
        fc.integer({ min: 1, max: 12 }),
        async (behaviours, windows, restart) => {
          const one = await NoticeBench.create()
          const hook = await new WebhookServer().listen()
          const left = [...behaviours]
          hook.behave = () => (left.shift() ?? 200) as number
          const channel = new Webhook({ url: hook.url })
          let runner = one.sinks.start(one.notifier(channel))
          for (const [i, kind] of windows.entries()) {
            if (kind !== null) await one.produce(kind, [12 - i])
            if (i !== restart) continue
            await one.sinks.stop(runner)
            runner = one.sinks.start(one.notifier(channel))
          }
          await one.sinks.drained(runner)
          await runner.flush()
          const sent = hook.taken.map((received) => short(one, received))
          const expected = windows.flatMap((kind, i) =>
            kind !== null && (windows[i - 1] !== kind || windows[i + 1] !== kind)
              ? [`${kind}/${12 - i}`]
              : [],
          )
          assert.deepEqual(
            sent.filter((key, i) => key !== sent[i - 1]),
            expected,
          )
          await one.close()
          await hook.close()
        },
      ),
      { numRuns: 25 },
    )
  })

  it('sends what stands alone, row by row, where it has no runs', async () => {
    const alerts = { application: 'shop', topic: 'alerts', notify: { text: () => 'large\r\norder' } }
    const runner = bench.sinks.start(notifier({ alerts }))
    await bench.produce('SPIKE', [3, 2, 1])
    await bench.sinks.drained(runner)
    assert.equal(new Set(server.taken.map(({ key }) => key)).size, 3)
    assert.match(server.taken[0]!.text, /\*shop\* large order \(/)
  })

  it('makes a dead letter of a row that the pipeline cannot put into words', async () => {
    const text = ({ order_count }: Record<string, unknown>): string => {
      if (order_count === 2) throw new TypeError('no words')
      return 'fine'
    }
    const runner = bench.sinks.start(
      notifier({ alerts: { application: 'shop', topic: 'alerts', notify: { text } } }),
    )
    await bench.produce('SPIKE', [3, 2, 1])
    await bench.sinks.drained(runner)
    assert.equal(server.taken.length, 2)
    const [letter] = await bench.sinks.deadLetters()
    assert.match(letter!.reason, /notify cannot read it: no words/)
  })

  it('that lost its partition sends nothing more of it', async () => {
    const sent: Notice[] = []
    const channel: Channel = {
      name: 'webhook',
      description: 'a test',
      send: async (notice) => void sent.push(notice),
    }
    const zombie = bench.notifier(channel)
    const runner = bench.sinks.start(zombie)
    await bench.produce('SPIKE', [2, 1])
    await bench.sinks.drained(runner)
    const [description] = await bench.sinks.log.admin.describeTopics(['shop.things'])
    const incarnation = `${await bench.sinks.log.admin.clusterId()}/${description!.topicId}`
    const heir = bench.notifier(channel, { lookEveryMs: 3_600_000 })
    const [taken] = await heir.recover([{ topic: 'shop.things', partition: 0, incarnation, note: null }])
    assert.equal(taken!.position!.next, 2)
    bench.clock.now += 3 * SIZE_MS
    await new Promise((resolve) => setTimeout(resolve, 100))
    assert.equal(sent.length, 1)
    await heir.flush()
    assert.equal(sent.length, 2)
  })

  it('does not take a fault of its own for a webhook that is away', async () => {
    const channel: Channel = {
      name: 'webhook',
      description: 'a test',
      send: () => Promise.reject(new Error('a bug')),
    }
    const runner = bench.sinks.start(bench.notifier(channel))
    await bench.produce('SPIKE', [1])
    assert.equal((await bench.sinks.failureOf(runner)).message, 'a bug')
  })
})
