import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.Arrays;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Properties;
import java.util.SplittableRandom;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.atomic.AtomicLong;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.serialization.ByteArrayDeserializer;
import org.apache.kafka.common.serialization.ByteArraySerializer;

/**
 * Appends events at a steady rate and watches the totals that come of them, at read_committed: BROKERS TOPIC_IN
 * TOPIC_OUT KEYS RATE SECONDS WARM_UP_SECONDS. The n-th event of a key and window is visible with the first update
 * that counts n or more. Prints a line of JSON a second, and at the end one with the latencies of the events that
 * were sent after the warm-up, from send to visible.
 */
public final class LatencyProbe {
  private static final long WINDOW_MICROS = 300_000_000L;
  private static final long LAST_WAIT_NANOS = 15_000_000_000L;

  /** When the events of one key and window were sent, in order. */
  private static final class Sent {
    private long[] nanos = new long[16];
    private int length;
    private int seen;

    synchronized void add(long now) {
      if (length == nanos.length) nanos = Arrays.copyOf(nanos, length * 2);
      nanos[length++] = now;
    }
  }

  private final Map<String, Sent> sentByGroup = new ConcurrentHashMap<>();
  private final AtomicLong sent = new AtomicLong();
  private final long[] latencies;
  private int measured;
  private long visible;

  private LatencyProbe(int most) {
    latencies = new long[most];
  }

  public static void main(String[] arguments) throws Exception {
    int keys = Integer.parseInt(arguments[3]);
    int rate = Integer.parseInt(arguments[4]);
    int seconds = Integer.parseInt(arguments[5]);
    int warmUp = Integer.parseInt(arguments[6]);
    LatencyProbe probe = new LatencyProbe(rate * (seconds + 1));
    long began = System.nanoTime();
    Thread sender =
        new Thread(() -> probe.send(arguments[0], arguments[1], keys, rate, (long) rate * seconds, began));
    sender.start();
    probe.watch(arguments[0], arguments[2], (long) rate * seconds, began, warmUp);
    sender.join();
  }

  private void send(String brokers, String topic, int keys, int rate, long count, long began) {
    Properties properties = new Properties();
    properties.put("bootstrap.servers", brokers);
    properties.put("key.serializer", ByteArraySerializer.class.getName());
    properties.put("value.serializer", ByteArraySerializer.class.getName());
    properties.put("linger.ms", "1");
    byte[] padding = "x".repeat(200).getBytes(StandardCharsets.US_ASCII);
    try (KafkaProducer<byte[], byte[]> producer = new KafkaProducer<>(properties)) {
      for (long n = 0; n < count; n++) {
        SplittableRandom random = new SplittableRandom(n);
        String key = "key-" + random.nextInt(keys);
        double amount = random.nextInt(40_000) / 4.0;
        // The clock's own pace, from a window's start on.
        long micros = 1_767_225_600_000_000L + n * 1_000_000L / rate;
        byte[] payload = Arrays.copyOf(padding, 200 - key.length() - 20);
        byte[] value = Event.encode(key, micros, amount, payload);
        String group = micros / WINDOW_MICROS * WINDOW_MICROS / 1000 + " " + key;
        sentByGroup.computeIfAbsent(group, unused -> new Sent()).add(System.nanoTime());
        producer.send(new ProducerRecord<>(topic, key.getBytes(StandardCharsets.UTF_8), value));
        sent.set(n + 1);
        long aheadNanos = (long) (n * 1e9 / rate) - (System.nanoTime() - began);
        if (aheadNanos > 1_000_000) Thread.sleep(aheadNanos / 1_000_000);
      }
    } catch (InterruptedException ended) {
      Thread.currentThread().interrupt();
    }
  }

  private void watch(String brokers, String topic, long count, long began, int warmUp) {
    Properties properties = new Properties();
    properties.put("bootstrap.servers", brokers);
    properties.put("key.deserializer", ByteArrayDeserializer.class.getName());
    properties.put("value.deserializer", ByteArrayDeserializer.class.getName());
    properties.put("isolation.level", "read_committed");
    properties.put("max.poll.records", "5000");
    Map<TopicPartition, Long> lastSeen = new HashMap<>();
    long measuredFrom = began + warmUp * 1_000_000_000L;
    long silence = 0;
    long second = 1;
    long allSentAt = 0;
    try (KafkaConsumer<byte[], byte[]> consumer = new KafkaConsumer<>(properties)) {
      List<TopicPartition> partitions =
          consumer.partitionsFor(topic).stream()
              .map(partition -> new TopicPartition(topic, partition.partition()))
              .toList();
      consumer.assign(partitions);
      consumer.seekToBeginning(partitions);
      while (visible < count) {
        var records = consumer.poll(Duration.ofMillis(50));
        long now = System.nanoTime();
        for (TopicPartition partition : records.partitions()) {
          Long before = lastSeen.put(partition, now);
          if (before != null) silence = Math.max(silence, now - before);
          for (ConsumerRecord<byte[], byte[]> record : records.records(partition)) {
            if (record.key() != null && record.value() != null) see(record.value(), now, measuredFrom);
          }
        }
        if (sent.get() < count) {
          // What is silent still counts as well.
          for (long last : lastSeen.values()) silence = Math.max(silence, now - last);
        } else if (allSentAt == 0) {
          allSentAt = now;
        } else if (now - allSentAt > LAST_WAIT_NANOS) {
          break;
        }
        if (now - began >= second * 1_000_000_000L) {
          System.out.printf(
              "{\"second\":%d,\"sent\":%d,\"visible\":%d,\"silenceMs\":%.1f}%n",
              second++, sent.get(), visible, silence / 1e6);
          silence = 0;
        }
      }
    }
    print(count);
  }

  private void see(byte[] json, long now, long measuredFrom) {
    String row = new String(json, StandardCharsets.UTF_8);
    String key = between(row, "\"key\":\"", "\"");
    Sent group = sentByGroup.get(windowStart(between(row, "\"window_start\":", ",")) + " " + key);
    long total = Long.parseLong(between(row, "\"count\":", ","));
    synchronized (group) {
      for (; group.seen < total; group.seen++, visible++) {
        long at = group.nanos[group.seen];
        if (at >= measuredFrom) latencies[measured++] = now - at;
      }
    }
  }

  private void print(long count) {
    Arrays.sort(latencies, 0, measured);
    System.out.printf(
        "{\"measured\":%d,\"unseen\":%d,\"p50Ms\":%.1f,\"p99Ms\":%.1f,\"p999Ms\":%.1f,\"longestMs\":%.1f}%n",
        measured, count - visible, at(0.5), at(0.99), at(0.999), at(1));
  }

  private double at(double share) {
    return measured == 0 ? 0 : latencies[Math.min(measured - 1, (int) (measured * share))] / 1e6;
  }

  private static String between(String row, String before, String after) {
    int from = row.indexOf(before) + before.length();
    return row.substring(from, row.indexOf(after, from));
  }

  /** Epoch milliseconds, or a time as text. */
  private static long windowStart(String text) {
    return text.startsWith("\"")
        ? java.time.Instant.parse(text.substring(1, text.length() - 1)).toEpochMilli()
        : Long.parseLong(text);
  }
}
