import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { KAFKA_SETTINGS } from '../../../deploy/stack/kafka.ts'
import { REDIS_SETTINGS } from '../../../deploy/stack/redis.ts'
import { REGISTRY_SETTINGS } from '../../../deploy/stack/registry.ts'

const ROOT = join(import.meta.dirname, '..', '..', '..')
const read = (path: string): string => readFileSync(join(ROOT, path), 'utf8')

describe('docker-compose.yml', () => {
  const text = read('docker-compose.yml')

  it('gives Kafka the settings of the servers without containers', () => {
    for (const [name, value] of Object.entries(KAFKA_SETTINGS)) {
      const variable = `KAFKA_${name.toUpperCase().replaceAll('.', '_')}`
      assert.ok(text.includes(`      ${variable}: '${value}'\n`), `${variable}: '${value}'`)
    }
  })

  it('gives Redis the settings of the servers without containers', () => {
    for (const [name, value] of Object.entries(REDIS_SETTINGS)) {
      assert.ok(text.includes(`'--${name}', '${value}'`), name)
    }
  })

  it('gives the registry the settings of the servers without containers', () => {
    for (const [name, value] of Object.entries(REGISTRY_SETTINGS)) {
      assert.ok(text.includes(`      ${name}: ${value}\n`), name)
    }
  })

  it('pins the version of every image, the same as without containers', () => {
    const images = [...text.matchAll(/image: (.+)/g)].map(([, image]) => image!)
    assert.equal(images.length, 4)
    for (const image of images) assert.match(image, /:\d+\.\d+\.\d+(-\w+)?$/)
    const kafka = /<kafka\.version>(.+)<\/kafka\.version>/.exec(read('deploy/stack/kafka/pom.xml'))![1]!
    assert.ok(images.includes(`apache/kafka:${kafka}`))
  })

  it('says of every service whether it is healthy', () => {
    const services = text.slice(text.indexOf('\nservices:'), text.indexOf('\nvolumes:'))
    assert.equal(services.match(/healthcheck:/g)?.length, services.match(/image:/g)?.length)
  })
})
