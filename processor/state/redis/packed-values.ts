/** What `cmsgpack` writes for a table of strings and false (of Redis' Lua; only these of MessagePack's types). */
const FALSE = 0xc2
const FIX_STRING = 0xa0
const STRING_8 = 0xd9
const STRING_16 = 0xda
const STRING_32 = 0xdb
const ARRAY_16 = 0xdc

/**
 * Hands out the values of a packed array, as views over it; one reply instead of thousands is what makes bulk
 * reads cheap. @throws TypeError where it is something else
 */
export function forEachPacked(packed: Buffer, visit: (index: number, value: Buffer | null) => void): void {
  const first = packed[0]!
  // A call reads too few keys for the longer form.
  let at = first === ARRAY_16 ? 3 : 1
  const count = first === ARRAY_16 ? packed.readUInt16BE(1) : first & 0x0f
  for (let index = 0; index < count; index++) {
    const type = packed[at++]!
    let bytes: number
    if (type === FALSE) {
      visit(index, null)
      continue
    } else if ((type & 0xe0) === FIX_STRING) {
      bytes = type & 0x1f
    } else if (type === STRING_8) {
      bytes = packed[at]!
      at += 1
    } else if (type === STRING_16) {
      bytes = packed.readUInt16BE(at)
      at += 2
    } else if (type === STRING_32) {
      bytes = packed.readUInt32BE(at)
      at += 4
    } else {
      throw new TypeError(`Redis packed a value of type ${type} where only strings were read`)
    }
    visit(index, packed.subarray(at, at + bytes))
    at += bytes
  }
}
