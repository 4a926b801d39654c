import { join } from 'node:path'
import { writeFile } from 'node:fs/promises'
import { findProgram, run } from './command.ts'

/** Files in PEM. */
export interface Certificates {
  /** What clients trust. */
  readonly caFile: string
  readonly certFile: string
  readonly keyFile: string
  /** Key and certificate in one file, as Kafka reads them. */
  readonly pairFile: string
}

/**
 * A certificate authority of this moment and a certificate of it for localhost and 127.0.0.1, for two days.
 * @throws StackError MISSING_PROGRAM without openssl
 */
export async function makeCertificates(directory: string): Promise<Certificates> {
  const openssl = findProgram('openssl', '`apt-get install openssl`.')
  const path = (name: string): string => join(directory, name)
  const newKey = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes']
  await run(openssl, [
    ...['req', '-x509', ...newKey, '-days', '2', '-subj', '/CN=millrace test authority'],
    ...['-keyout', path('ca.key'), '-out', path('ca.pem')],
  ])
  await run(openssl, [
    ...['req', ...newKey, '-subj', '/CN=localhost'],
    ...['-keyout', path('server.key'), '-out', path('server.csr')],
  ])
  await writeFile(path('server.ext'), 'subjectAltName=DNS:localhost,IP:127.0.0.1\n')
  const certificate = await run(openssl, [
    ...['x509', '-req', '-in', path('server.csr'), '-CA', path('ca.pem'), '-CAkey', path('ca.key')],
    ...['-CAcreateserial', '-days', '2', '-extfile', path('server.ext')],
  ])
  const key = await run(openssl, ['pkcs8', '-topk8', '-nocrypt', '-in', path('server.key')])
  await writeFile(path('server.pem'), certificate)
  await writeFile(path('pair.pem'), `${key}${certificate}`)
  return {
    caFile: path('ca.pem'),
    certFile: path('server.pem'),
    keyFile: path('server.key'),
    pairFile: path('pair.pem'),
  }
}
