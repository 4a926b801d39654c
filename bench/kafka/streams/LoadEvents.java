import java.nio.charset.StandardCharsets;
import java.util.Properties;
import java.util.SplittableRandom;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.serialization.ByteArraySerializer;

/**
 * Fills a topic: BROKERS TOPIC FIRST COUNT KEYS EVENTS_A_SECOND RATE. Event n always has the same
 * bytes: its key and amount come from a generator seeded with n, its time from n. RATE is how many
 * are sent in a second of the clock; 0: as fast as it goes.
 */
public final class LoadEvents {
  private static final long START_MS = 1_767_225_600_000L; // 2026-01-01T00:00:00Z, a window's start
  private static final int EVENT_BYTES = 200;

  public static void main(String[] arguments) {
    String topic = arguments[1];
    long first = Long.parseLong(arguments[2]);
    long count = Long.parseLong(arguments[3]);
    int keys = Integer.parseInt(arguments[4]);
    double perSecond = Double.parseDouble(arguments[5]);
    int rate = Integer.parseInt(arguments[6]);
    Properties properties = new Properties();
    properties.put("bootstrap.servers", arguments[0]);
    properties.put("key.serializer", ByteArraySerializer.class.getName());
    properties.put("value.serializer", ByteArraySerializer.class.getName());
    properties.put("acks", "all");
    properties.put("linger.ms", rate == 0 ? "20" : "1");
    properties.put("batch.size", "262144");
    properties.put("buffer.memory", "67108864");
    byte[] padding = "x".repeat(EVENT_BYTES).getBytes(StandardCharsets.US_ASCII);
    long began = System.nanoTime();
    try (KafkaProducer<byte[], byte[]> producer = new KafkaProducer<>(properties)) {
      for (long n = 0; n < count; n++) {
        SplittableRandom random = new SplittableRandom(first + n);
        String key = "key-" + random.nextInt(keys);
        // Quarters: sums are exact in doubles, in any order.
        double amount = random.nextInt(40_000) / 4.0;
        long micros = START_MS * 1000 + (long) ((first + n) * 1e6 / perSecond);
        byte[] payload = java.util.Arrays.copyOf(padding, EVENT_BYTES - key.length() - 20);
        byte[] value = Event.encode(key, micros, amount, payload);
        producer.send(new ProducerRecord<>(topic, key.getBytes(StandardCharsets.UTF_8), value));
        if (rate > 0 && n % (rate / 200 + 1) == 0) pace(began, n, rate);
      }
    }
  }

  private static void pace(long began, long sent, int rate) {
    long aheadNanos = (long) (sent * 1e9 / rate) - (System.nanoTime() - began);
    if (aheadNanos <= 0) return;
    try {
      Thread.sleep(aheadNanos / 1_000_000, (int) (aheadNanos % 1_000_000));
    } catch (InterruptedException ended) {
      Thread.currentThread().interrupt();
    }
  }
}
