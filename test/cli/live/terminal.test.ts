import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Screen } from './screen.ts'
import { BIN } from '../support.ts'

describe('millrace run, in a real terminal', () => {
  let cwd: string
  beforeEach(() => (cwd = mkdtempSync(join(tmpdir(), 'millrace-terminal-'))))
  afterEach(() => rmSync(cwd, { recursive: true, force: true }))

  for (const columns of [80, 120]) {
    it(`draws within ${columns} columns, and the alerts that it logs stay whole`, function () {
      // util-linux' `script` gives it a terminal of its own.
      if (process.platform !== 'linux' || spawnSync('script', ['--version']).status !== 0) this.skip()
      const command = [
        'run',
        'orders',
        '--count',
        '60000',
        '--rate',
        '202',
        '--exit-when-done',
        '--data-dir',
        'data',
      ]
      const said = spawnSync(
        'script',
        [
          '-qefc',
          `stty cols ${columns} rows 24; exec "${process.execPath}" "${BIN}" ${command.join(' ')}`,
          '/dev/null',
        ],
        {
          cwd,
          encoding: 'utf8',
          input: '',
          env: { ...process.env, TERM: 'xterm-256color', ORDERS_SPIKE_ABOVE: '994' },
        },
      )
      assert.equal(said.status, 0, said.stdout)
      const views = said.stdout.split('\u001b[?2026h').slice(1)
      assert.ok(views.length > 1, 'it was drawn more than once')
      for (const view of views) {
        const screen = new Screen(columns, 24)
        screen.write(view.slice(0, view.indexOf('\u001b[?2026l')))
        assert.equal(screen.wraps, 0, screen.text)
        assert.match(
          screen.text,
          /^orders · run · .* watermark [^]* read +[\d,]+ +[\d,]+\/s +invalid[^]* windows +\d/,
        )
      }
      const screen = new Screen(columns, 24)
      screen.write(said.stdout)
      const lines = screen.whole.map((line) => line.trimEnd())
      const alerts = lines.filter((line) => line.includes('"level"'))
      assert.ok(alerts.length > 0, screen.text)
      for (const alert of alerts) assert.doesNotThrow(() => JSON.parse(alert), alert)
      assert.ok(
        lines.some((line) => /^Done after .*: 60,000 records read, \d+ of them invalid\.$/.test(line)),
      )
      assert.doesNotMatch(screen.text, /orders · run/, 'nothing of the view stays')
    })
  }
})
