import type { ConnectionOptions as TlsOptions } from 'node:tls'
import { LogError } from '../errors.ts'
import { ConnectionLost } from './errors.ts'
import { StallWatchdog } from './hardening/stall-watchdog.ts'
import { apiVersionsRequest } from './kafkajs-requests.ts'
import type { KafkaRequest } from './requests/request.ts'
import { Transport } from './transport.ts'
import { assertSpeaks } from './versions.ts'

export type SaslOptions =
  | {
      readonly mechanism: 'plain' | 'scram-sha-256' | 'scram-sha-512'
      readonly username: string
      readonly password: string
    }
  | {
      readonly mechanism: 'oauthbearer'
      /** Asked for a token at each log-in. */
      readonly oauthBearerProvider: () => Promise<{ readonly value: string }>
    }

export interface ConnectionOptions {
  readonly clientId: string
  readonly ssl: TlsOptions | null
  readonly sasl: SaslOptions | null
  /** For TCP, TLS, versions and log-in together. */
  readonly connectionTimeoutMs: number
}

export interface Address {
  readonly host: string
  readonly port: number
}

/**
 * One TCP connection to one broker, logged in: KafkaJS's, used once. (KafkaJS connects the same object again, with
 * the half of a response that the broken connection left in it.) The broker answers a connection's requests in
 * order, so whatever may wait long at the broker has a connection of its own.
 */
export class BrokerConnection {
  readonly address: string
  readonly #connection: Transport
  readonly #watchdog = new StallWatchdog((reason) => this.close(reason))

  private constructor(address: string, connection: Transport) {
    this.address = address
    this.#connection = connection
  }

  /**
   * @param closing aborted, it is given up at once
   * @throws ConnectionLost, LogError UNAUTHORIZED or UNSUPPORTED_VERSION
   */
  static async open(
    { host, port }: Address,
    options: ConnectionOptions,
    closing?: AbortSignal,
  ): Promise<BrokerConnection> {
    const transport = new Transport({ host, port, ...options })
    const connection = new BrokerConnection(`${host}:${port}`, transport)
    const giveUp = (): void => connection.close('It was closed')
    closing?.addEventListener('abort', giveUp)
    try {
      await connection.#watchdog.watch('Connecting', options.connectionTimeoutMs, connection.#logIn())
    } catch (error) {
      connection.close('It could not be opened')
      throw connectError(error, connection.address, options.sasl?.mechanism ?? null)
    } finally {
      closing?.removeEventListener('abort', giveUp)
    }
    return connection
  }

  get isOpen(): boolean {
    return this.#connection.isConnected()
  }

  /**
   * @param timeoutMs without an answer by then the connection is closed
   * @throws ConnectionLost; also where the answer cannot be read
   */
  async send<Result>(request: KafkaRequest<Result>, timeoutMs: number): Promise<Result> {
    const { apiName } = request.request
    try {
      return await this.#watchdog.watch(apiName, timeoutMs, this.#connection.send(request))
    } catch (error) {
      if (error instanceof LogError) throw error
      if (isLogInRefused(error)) throw logInRefused(error, this.address, null)
      if (this.isOpen && !isConnectionError(error)) {
        this.close(`Its answer to ${apiName} cannot be read`)
      }
      throw new ConnectionLost(this.address, apiName, error)
    }
  }

  /** At once: what waits for an answer is rejected with the reason. */
  close(reason: string): void {
    const connection = this.#connection
    connection.rejectRequests(new Error(reason))
    void connection.disconnect()
    // With an error, so that connecting ends too.
    connection.socket?.destroy(new Error(reason))
  }

  async #logIn(): Promise<void> {
    const connection = this.#connection
    await connection.connect()
    const versions = await connection.send(apiVersionsRequest())
    assertSpeaks(versions, this.address)
    connection.setVersions(
      Object.fromEntries(
        [...versions].map(([key, { min, max }]) => [key, { minVersion: min, maxVersion: max }]),
      ),
    )
    connection.setSupportAuthenticationProtocol(true)
    await connection.authenticate()
  }
}

function connectError(error: unknown, address: string, mechanism: string | null): unknown {
  if (error instanceof LogError) return error
  if (isLogInRefused(error)) return logInRefused(error, address, mechanism)
  const code = String((error as { code?: unknown }).code)
  if (isCertificateError(code)) {
    return new LogError(
      'UNAUTHORIZED',
      `The certificate of Kafka at ${address} is not trusted (${code}): give the authority that signed it (ssl.ca), or the name that it is for (ssl.servername)`,
      { cause: error },
    )
  }
  return new ConnectionLost(address, 'Connecting', error)
}

function isCertificateError(code: string): boolean {
  return /CERT|SELF_SIGNED|UNABLE_TO_VERIFY|ALTNAME|SSL_ALERT_BAD|TLSV1_ALERT|SSLV3_ALERT/.test(code)
}

function isLogInRefused(error: unknown): boolean {
  const { name, type } = error as { name?: unknown; type?: unknown }
  return (
    name === 'KafkaJSSASLAuthenticationError' ||
    ['SASL_AUTHENTICATION_FAILED', 'UNSUPPORTED_SASL_MECHANISM', 'ILLEGAL_SASL_STATE'].includes(String(type))
  )
}

function logInRefused(error: unknown, address: string, mechanism: string | null): LogError {
  const by = mechanism === null ? '' : ` by ${mechanism}`
  return new LogError(
    'UNAUTHORIZED',
    `Kafka at ${address} refused the log-in${by} (${(error as Error).message}): mend the user, the password or the mechanism`,
    { cause: error },
  )
}

function isConnectionError(error: unknown): boolean {
  return String((error as { name?: unknown }).name).startsWith('KafkaJSConnection')
}
