import assert from 'node:assert/strict'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { chromium, type Browser, type Page } from 'playwright-core'
import { page as makePage } from '../../../cli/chart/page.ts'
import { chromiumProgram } from '../../../deploy/stack/servers.ts'
import type { QueryResult } from '../../../cli/wire/tables.ts'
import { ownServer } from '../../support/servers.ts'

const NASTY = '</script><script>document.body.dataset.hacked = "yes"</script><!-- & "quoted"'

describe('a result as a page, in a browser without a network', () => {
  let browser: Browser
  let directory: string

  before(async function () {
    const { path, env } = await ownServer(this, chromiumProgram)
    browser = await chromium.launch({
      executablePath: path,
      env: { ...(process.env as Record<string, string>), ...env },
      args: ['--no-sandbox', '--disable-gpu'],
      timeout: 120_000,
    })
    directory = mkdtempSync(join(tmpdir(), 'millrace-page-'))
  })
  after(async () => {
    await browser.close()
    rmSync(directory, { recursive: true })
  })

  async function open(result: QueryResult): Promise<{ page: Page; errors: string[] }> {
    const columns = result.columns.map(({ name, type }) => ({ name, numeric: type === 'BIGINT' }))
    const html = makePage({
      title: `orders: ${NASTY}`,
      sql: `select ${NASTY}`,
      result,
      columns,
      rows: result.rows,
      madeMs: 0,
    })
    const file = join(directory, 'page.html')
    writeFileSync(file, html)
    const context = await browser.newContext({ offline: true, viewport: { width: 1000, height: 900 } })
    const page = await context.newPage()
    const errors: string[] = []
    page.on('pageerror', (error) => errors.push(error.message))
    page.on('console', (message) => {
      if (message.type() === 'error') errors.push(message.text())
    })
    page.on('request', (request) => {
      if (!request.url().startsWith('file:') && !request.url().startsWith('data:')) errors.push(request.url())
    })
    await page.goto(pathToFileURL(file).href)
    return { page, errors }
  }

  /** Pixels of a canvas that are not empty. */
  const drawn = (page: Page): Promise<number[]> =>
    page.evaluate(`[...document.querySelectorAll('canvas')].map((canvas) =>
      canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height).data.filter((v, i) => i % 4 === 3 && v > 0).length)`)

  it('draws each number over time, and has the table', async () => {
    const { page, errors } = await open({
      columns: [
        { name: 'window_start', type: 'TIMESTAMP' },
        { name: 'orders', type: 'BIGINT' },
        { name: 'revenue', type: 'DOUBLE' },
      ],
      rows: [
        ['2026-11-21 14:00:00', 5, 1.5],
        ['2026-11-21 14:05:00', 9, null],
        ['2026-11-21 14:10:00', 2, 7.25],
      ],
      truncated: false,
    })
    assert.deepEqual(errors, [])
    assert.deepEqual(await page.locator('h2').allInnerTexts(), [
      'orders by window_start',
      'revenue by window_start',
    ])
    const pixels = await drawn(page)
    assert.equal(pixels.length, 2)
    for (const count of pixels) assert.ok(count > 1_000, `${count} pixels`)
    assert.equal(await page.locator('#rows tbody tr').count(), 3)
    await page.close()
  })

  it('draws bars, and takes nothing that it shows for a part of itself', async () => {
    const { page, errors } = await open({
      columns: [
        { name: 'country', type: 'VARCHAR' },
        { name: NASTY, type: 'BIGINT' },
      ],
      rows: [
        [NASTY, 5],
        ['Ireland', -3],
      ],
      truncated: false,
    })
    assert.deepEqual(errors, [])
    assert.ok((await drawn(page))[0]! > 1_000)
    assert.equal(await page.evaluate('document.body.dataset.hacked ?? null'), null)
    assert.equal(await page.locator('#rows td').first().innerText(), NASTY)
    assert.equal(await page.title(), `orders: ${NASTY}`)
    await page.close()
  })

  it('of what cannot be drawn says why, beside the table', async () => {
    const { page, errors } = await open({
      columns: [{ name: 'a', type: 'BIGINT' }],
      rows: [[1]],
      truncated: false,
    })
    assert.deepEqual(errors, [])
    assert.match(await page.locator('p').nth(1).innerText(), /^No chart: a chart needs a time and a number/)
    assert.equal(await page.locator('canvas').count(), 0)
    await page.close()
  })

  it('is in the docs as it looks', () => {
    const picture = readFileSync(join(import.meta.dirname, '..', '..', '..', 'docs', 'images', 'chart.png'))
    assert.equal(picture.subarray(1, 4).toString(), 'PNG')
    assert.ok(picture.length < 60_000)
  })
})
