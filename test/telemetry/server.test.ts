import assert from 'node:assert/strict'
import { once } from 'node:events'
import { connect, type Socket } from 'node:net'
import { Health } from '../../telemetry/health.ts'
import { Metrics } from '../../telemetry/metrics.ts'
import { startTelemetryServer, TelemetryError, type TelemetryServer } from '../../telemetry/server.ts'

describe('the port for metrics and health', () => {
  const health = new Health({ cacheMs: 0 })
  let reason: string | null = null
  let server: TelemetryServer
  before(async () => {
    health.addCheck({ name: 'state', check: () => reason })
    const metrics = new Metrics({ application: 'orders', role: 'run', version: '1', defaults: false })
    server = await startTelemetryServer({ metrics, health, port: 0 })
  })
  after(() => server.close())
  const get = (path: string, init?: RequestInit): Promise<Response> => fetch(`${server.url}${path}`, init)

  it('is this machine only unless told, on a free port where 0 is asked for', () => {
    assert.match(server.url, /^http:\/\/127\.0\.0\.1:\d+$/)
    assert.notEqual(server.port, 0)
  })

  it('serves metrics in the text format that Prometheus reads', async () => {
    const response = await get('/metrics?name=x')
    assert.equal(response.status, 200)
    assert.match(response.headers.get('content-type')!, /^text\/plain; version=0\.0\.4/)
    assert.match(await response.text(), /^millrace_info\{application="orders",role="run",version="1"\} 1$/m)
  })

  it('says whether the process is alive and ready, with the reasons when not', async () => {
    const alive = await get('/healthz')
    assert.equal(alive.status, 200)
    assert.deepEqual(await alive.json(), { status: 'ok', reasons: [] })
    assert.equal((await get('/readyz')).status, 200)
    reason = 'Redis does not answer'
    await new Promise((resolve) => setTimeout(resolve, 2))
    const unready = await get('/readyz')
    assert.equal(unready.status, 503)
    assert.deepEqual(await unready.json(), {
      status: 'unavailable',
      reasons: [{ name: 'state', reason: 'Redis does not answer' }],
    })
    assert.equal((await get('/healthz')).status, 200)
  })

  it('answers what it does not serve, and goes on', async () => {
    assert.equal((await get('/')).status, 404)
    assert.equal((await get('/metrics/../etc/passwd')).status, 404)
    const posted = await get('/metrics', { method: 'POST', body: 'x'.repeat(1 << 20) })
    assert.equal(posted.status, 405)
    assert.equal(posted.headers.get('allow'), 'GET, HEAD')
    const head = await get('/healthz', { method: 'HEAD' })
    assert.equal(head.status, 200)
    assert.equal(await head.text(), '')
  })

  it('hangs up on what is no HTTP, and goes on', async () => {
    assert.match(await raw('\u0016\u0003\u0001 not http\r\n\r\n'), /^HTTP\/1\.1 400 /)
    assert.match(await raw(`GET /metrics HTTP/1.1\r\nx: ${'y'.repeat(17 << 10)}`), /^HTTP\/1\.1 431 /)
    assert.equal((await get('/healthz')).status, 200)
  })

  it('says whose fault it is when the port is taken', async () => {
    const metrics = new Metrics({ application: 'a', role: 'run', version: '1', defaults: false })
    await assert.rejects(
      startTelemetryServer({ metrics, health, port: server.port }),
      (error) =>
        error instanceof TelemetryError &&
        error.message ===
          `Metrics and health cannot be served on 127.0.0.1, port ${server.port}: another process listens there. ` +
            'Choose another port, or 0 for any free one.',
    )
  })

  it('closes at once, whoever is connected', async () => {
    const metrics = new Metrics({ application: 'a', role: 'run', version: '1', defaults: false })
    const other = await startTelemetryServer({ metrics, health, port: 0 })
    const socket = connect(other.port, '127.0.0.1')
    await once(socket, 'connect')
    socket.write('GET /metr')
    socket.on('error', () => undefined)
    const closed = closeOf(socket)
    await other.close()
    await closed
    await assert.rejects(fetch(other.url))
  })

  async function raw(text: string): Promise<string> {
    const socket = connect(server.port, '127.0.0.1')
    let answer = ''
    socket.on('data', (data) => (answer += data.toString('latin1')))
    // A peer that hangs up while we still write is what is tested here.
    socket.on('error', () => undefined)
    socket.write(text)
    await closeOf(socket)
    return answer
  }
})

/** `once` would reject with the reset that may come before. */
function closeOf(socket: Socket): Promise<void> {
  return new Promise((resolve) => socket.once('close', () => resolve()))
}
