import java.nio.charset.StandardCharsets;

/** Bare Avro of bench/windowed-totals.ts: key, event_time (microseconds), amount, payload; read in place. */
final class Event {
  private Event() {}

  /** Where the field behind a string or a varint begins is told by `position` after each read. */
  static final class Reader {
    private final byte[] bytes;
    private int position;

    Reader(byte[] bytes) {
      this.bytes = bytes;
    }

    long varint() {
      long value = 0;
      for (int shift = 0; ; shift += 7) {
        byte next = bytes[position++];
        value |= (long) (next & 0x7f) << shift;
        if (next >= 0) return (value >>> 1) ^ -(value & 1);
      }
    }

    void skipString() {
      // Not `position += …`, which would take the position from before the length was read.
      int length = (int) varint();
      position += length;
    }

    double real() {
      long bits = 0;
      for (int i = 7; i >= 0; i--) bits = bits << 8 | (bytes[position + i] & 0xff);
      position += 8;
      return Double.longBitsToDouble(bits);
    }
  }

  static long timeMs(byte[] value) {
    Reader reader = new Reader(value);
    reader.skipString();
    return reader.varint() / 1000;
  }

  static double amount(byte[] value) {
    Reader reader = new Reader(value);
    reader.skipString();
    reader.varint();
    return reader.real();
  }

  /** The event's bytes. @param payload ASCII */
  static byte[] encode(String key, long timeMicros, double amount, byte[] payload) {
    byte[] keyBytes = key.getBytes(StandardCharsets.UTF_8);
    byte[] into = new byte[keyBytes.length + payload.length + 40];
    int position = varint(into, 0, keyBytes.length);
    System.arraycopy(keyBytes, 0, into, position, keyBytes.length);
    position = varint(into, position + keyBytes.length, timeMicros);
    long bits = Double.doubleToRawLongBits(amount);
    for (int i = 0; i < 8; i++, bits >>>= 8) into[position++] = (byte) bits;
    position = varint(into, position, payload.length);
    System.arraycopy(payload, 0, into, position, payload.length);
    return java.util.Arrays.copyOf(into, position + payload.length);
  }

  private static int varint(byte[] into, int position, long value) {
    long rest = (value << 1) ^ (value >> 63);
    while ((rest & ~0x7fL) != 0) {
      into[position++] = (byte) (rest & 0x7f | 0x80);
      rest >>>= 7;
    }
    into[position++] = (byte) rest;
    return position;
  }
}
