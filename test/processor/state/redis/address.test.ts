import assert from 'node:assert/strict'
import { parseRedisUrl } from '../../../../processor/state/redis/address.ts'

describe('the address of Redis', () => {
  it('is one server, sentinels with the name of a master, or nodes of a cluster', () => {
    const kinds = [
      'redis://localhost',
      'redis://localhost:6380/2',
      'redis+sentinel://a:26379,b:26380/mymaster/1',
      'redis://a:1,b:2',
      'rediss+cluster://[::1]:7000',
    ].map((url) => {
      const { kind, hosts, master, database, tls } = parseRedisUrl(url)
      return [kind, hosts.map(({ host, port }) => `${host} ${port}`).join(), master, database, tls]
    })
    assert.deepEqual(kinds, [
      ['server', 'localhost 6379', '', 0, false],
      ['server', 'localhost 6380', '', 2, false],
      ['sentinel', 'a 26379,b 26380', 'mymaster', 1, false],
      ['cluster', 'a 1,b 2', '', 0, false],
      ['cluster', '::1 7000', '', 0, true],
    ])
  })

  it('carries user and password, percent-encoded where they need it, and shows neither', () => {
    const { username, password, text } = parseRedisUrl('redis://me:p%40s:s%2F@h:1/0')
    assert.deepEqual(
      { username, password, text },
      { username: 'me', password: 'p@s:s/', text: 'redis://h:1/0' },
    )
    const nobody = parseRedisUrl('redis://:secret@h')
    assert.deepEqual([nobody.username, nobody.password], [null, 'secret'])
  })

  for (const [url, why] of [
    ['http://localhost', /form/],
    ['localhost:6379', /form/],
    ['redis://secret@', /form/],
    ['redis://:secret@host:port', /'host:port' is no host/],
    ['redis://:secret@host:99999', /'host:99999' is no host/],
    ['redis+sentinel://:secret@a,b', /master's name is missing/],
    ['redis://:secret@h/one', /'one' is no database/],
    ['redis+cluster://:secret@h/1', /no other databases/],
    ['redis://:secret%@h', /%25/],
  ] as const) {
    it(`refuses ${url} and says why, without the password`, () => {
      assert.throws(
        () => parseRedisUrl(url),
        (error: Error & { code?: string }) => {
          assert.equal(error.code, 'STATE_UNAVAILABLE')
          assert.match(error.message, why)
          assert.doesNotMatch(error.message, /secret/)
          return true
        },
      )
    })
  }
})
