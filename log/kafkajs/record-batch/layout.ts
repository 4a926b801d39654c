/**
 * A batch of records, format v2, as Kafka keeps and sends it (positions in bytes from its start):
 *
 *   0 base offset int64 · 8 length int32, of what follows · 12 partition leader epoch int32 · 16 magic int8
 *   17 CRC32C uint32, of what follows · 21 attributes int16 · 23 last offset delta int32
 *   27 base timestamp int64 · 35 max timestamp int64 · 43 producer id int64 · 51 producer epoch int16
 *   53 base sequence int32 · 57 count int32 · 61 records, compressed as a whole where the attributes say so
 *
 * A record: length varint · attributes int8 · timestamp delta varlong · offset delta varint · key and value,
 * each a varint length (-1: null) and bytes · headers, a varint count and as many names and values.
 */
export const BASE_OFFSET = 0
export const LENGTH = 8
export const LEADER_EPOCH = 12
export const MAGIC = 16
export const CRC = 17
export const ATTRIBUTES = 21
export const LAST_OFFSET_DELTA = 23
export const BASE_TIMESTAMP = 27
export const MAX_TIMESTAMP = 35
export const PRODUCER_ID = 43
export const PRODUCER_EPOCH = 51
export const BASE_SEQUENCE = 53
export const COUNT = 57
export const RECORDS = 61

/** What `length` leaves out: the base offset and itself. */
export const LOG_OVERHEAD = 12

export const CODEC_MASK = 0x07
export const APPEND_TIME = 0x08
export const TRANSACTIONAL = 0x10
export const CONTROL = 0x20

/** Seven fields of at least one byte each. */
export const MIN_RECORD_BYTES = 7
/** Five varints of up to five bytes, the attributes, a timestamp delta of 0, the count of no headers. */
export const MAX_RECORD_OVERHEAD = 23
