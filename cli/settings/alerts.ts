/** Where notices of alerts go, put together from single settings. */
import { CliError } from '../errors.ts'
import { text, type Parse } from './values.ts'

export interface AlertSettings {
  /** null: nowhere. Secret: who has it can post. */
  readonly webhookUrl: string | null
  /** null: nowhere. */
  readonly email: EmailSettings | null
  /** Older alerts are not sent, by the wall clock. */
  readonly maxAgeMs: number
}

export interface SmtpAddress {
  readonly host: string
  readonly port: number
  /** TLS from the first byte. */
  readonly secure: boolean
  readonly auth: { readonly user: string; readonly password: string } | null
}

export interface EmailSettings extends SmtpAddress {
  /** Without STARTTLS nothing is sent. */
  readonly requireTls: boolean
  /** PEM; null: the system's authorities. */
  readonly ca: string | null
  readonly from: string
  readonly to: readonly string[]
}

/** The single settings, as they were found; null: not given. */
export interface AlertParts {
  readonly alertWebhookUrl: string | null
  readonly smtpUrl: SmtpAddress | null
  readonly smtpTlsCa: string | null
  readonly alertEmailFrom: readonly string[] | null
  readonly alertEmailTo: readonly string[] | null
  readonly alertMaxAge: number
}

const LOOPBACK = new Set(['localhost', '127.0.0.1', '::1'])

/** @throws CliError BAD_SETTING where the parts do not fit each other */
export function alertsOf(parts: AlertParts): AlertSettings {
  const { alertWebhookUrl: webhookUrl, alertMaxAge: maxAgeMs } = parts
  return { webhookUrl, maxAgeMs, email: emailOf(parts) }
}

function emailOf(parts: AlertParts): EmailSettings | null {
  const { smtpUrl: address, alertEmailFrom: from, alertEmailTo: to, smtpTlsCa: ca } = parts
  if (address === null && from === null && to === null && ca === null) return null
  if (address === null || from === null || to === null) {
    throw new CliError(
      'BAD_SETTING',
      'SMTP_URL, ALERT_EMAIL_FROM and ALERT_EMAIL_TO belong together: give all three or none.',
    )
  }
  if (from.length !== 1) {
    throw new CliError('BAD_SETTING', 'ALERT_EMAIL_FROM must be one address.')
  }
  // A password goes over the network under TLS or not at all.
  const requireTls = !address.secure && address.auth !== null && !LOOPBACK.has(address.host)
  return { ...address, requireTls, ca, from: from[0]!, to }
}

/** For values that hold a secret in the middle, so that no part of them may be shown. */
function refuse(where: string, wanted: string): never {
  throw new CliError('BAD_SETTING', `${where} is not what it can be: it must be ${wanted}.`)
}

export const webhookUrl: Parse<string> = (raw, origin) => {
  const url = URL.parse(text(raw, origin))
  if (url === null || (url.protocol !== 'https:' && url.protocol !== 'http:')) {
    refuse(origin.where, 'an address as https://host/path')
  }
  if (url.username !== '' || url.password !== '') {
    refuse(origin.where, 'without a user and password: its token belongs into the path or the query')
  }
  return url.href
}

const SMTP_FORM = "as 'smtps://user:password@host:port', or smtp for STARTTLS; special characters as %40"

export const smtpUrl: Parse<SmtpAddress> = (raw, origin) => {
  const url = URL.parse(text(raw, origin))
  const isSmtp = url !== null && (url.protocol === 'smtp:' || url.protocol === 'smtps:')
  if (!isSmtp || url.hostname === '' || !['', '/'].includes(url.pathname) || url.search !== '') {
    refuse(origin.where, SMTP_FORM)
  }
  if ((url.username === '') !== (url.password === ''))
    refuse(origin.where, `${SMTP_FORM}: a user needs a password`)
  const secure = url.protocol === 'smtps:'
  let auth: SmtpAddress['auth']
  try {
    const [user, password] = [decodeURIComponent(url.username), decodeURIComponent(url.password)]
    auth = user === '' ? null : { user, password }
  } catch {
    return refuse(origin.where, SMTP_FORM)
  }
  return {
    host: url.hostname.replace(/^\[(.*)\]$/, '$1'),
    port: url.port === '' ? (secure ? 465 : 587) : Number(url.port),
    secure,
    auth,
  }
}

/** `a@b.c`, or `Name <a@b.c>`; several with commas in between. */
const ADDRESS = /^(?:[^<>@,;\r\n]*<[^<>@\s,;]+@[^<>@\s,;]+>|[^<>@\s,;]+@[^<>@\s,;]+)$/

export const emailAddresses: Parse<readonly string[]> = (raw, origin) => {
  const list = text(raw, origin)
    .split(',')
    .map((address) => address.trim())
  const wrong = list.find((address) => !ADDRESS.test(address))
  if (wrong === undefined) return list
  throw new CliError(
    'BAD_SETTING',
    `${origin.where} has ${JSON.stringify(wrong)}: it must be mail addresses, with commas in between.`,
  )
}
