const DECIMAL = /^([+-]?)(\d+)(?:\.(\d+))?$/
/** Longer texts are no quantity and no price, and their arithmetic would cost the square of their length. */
const MAX_TEXT = 40

/** An exact decimal: `units` × 10^-scale. */
export interface Decimal {
  readonly units: bigint
  readonly scale: number
}

/** Digits with an optional sign and fraction; null for anything else. */
export function parseDecimal(text: string): Decimal | null {
  const parts = text.length > MAX_TEXT ? null : DECIMAL.exec(text)
  if (parts === null) return null
  const fraction = parts[3] ?? ''
  const digits = BigInt(parts[2]! + fraction)
  return { units: parts[1] === '-' ? -digits : digits, scale: fraction.length }
}

/** A sum of products, exact until it is converted once. */
export class DecimalSum {
  #units = 0n
  #scale = 0

  addProduct(a: Decimal, b: Decimal): void {
    const scale = a.scale + b.scale
    let units = a.units * b.units
    if (scale > this.#scale) {
      this.#units *= 10n ** BigInt(scale - this.#scale)
      this.#scale = scale
    } else if (scale < this.#scale) {
      units *= 10n ** BigInt(this.#scale - scale)
    }
    this.#units += units
  }

  /** The nearest double. */
  toNumber(): number {
    return Number(`${this.#units}e-${this.#scale}`)
  }
}
