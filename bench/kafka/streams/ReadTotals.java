import java.nio.charset.StandardCharsets;
import java.security.MessageDigest;
import java.time.Duration;
import java.util.Arrays;
import java.util.HashMap;
import java.util.HexFormat;
import java.util.List;
import java.util.Map;
import java.util.Properties;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.serialization.ByteArrayDeserializer;

/**
 * The last update of each key and window in an output topic, at read_committed: how many, what they count and
 * sum up to, and a hash of them all in order. BROKERS TOPIC. Prints JSON.
 */
public final class ReadTotals {
  private static final Pattern ROW =
      Pattern.compile("\\{\"key\":\"(.*)\",\"window_start\":(.*),\"count\":(.*),\"sum\":(.*)}");

  public static void main(String[] arguments) throws Exception {
    Properties properties = new Properties();
    properties.put("bootstrap.servers", arguments[0]);
    properties.put("key.deserializer", ByteArrayDeserializer.class.getName());
    properties.put("value.deserializer", ByteArrayDeserializer.class.getName());
    properties.put("isolation.level", "read_committed");
    Map<String, String> last = new HashMap<>();
    long updates = 0;
    long count = 0;
    double sum = 0;
    try (KafkaConsumer<byte[], byte[]> consumer = new KafkaConsumer<>(properties)) {
      List<TopicPartition> partitions =
          consumer.partitionsFor(arguments[1]).stream()
              .map(partition -> new TopicPartition(partition.topic(), partition.partition()))
              .toList();
      consumer.assign(partitions);
      consumer.seekToBeginning(partitions);
      Map<TopicPartition, Long> ends = consumer.endOffsets(partitions);
      while (partitions.stream().anyMatch(partition -> consumer.position(partition) < ends.get(partition))) {
        for (ConsumerRecord<byte[], byte[]> record : consumer.poll(Duration.ofMillis(500))) {
          if (record.value() == null || record.key() == null) continue;
          Matcher row = ROW.matcher(new String(record.value(), StandardCharsets.UTF_8));
          if (!row.matches()) throw new IllegalStateException("not a row: " + new String(record.value()));
          updates++;
          double total = Double.parseDouble(row.group(4));
          last.put(windowStart(row.group(2)) + " " + row.group(1), Long.parseLong(row.group(3)) + " " + total);
        }
      }
    }
    String[] names = last.keySet().toArray(String[]::new);
    Arrays.sort(names);
    MessageDigest digest = MessageDigest.getInstance("SHA-256");
    for (String name : names) {
      String totals = last.get(name);
      digest.update((name + " " + totals + "\n").getBytes(StandardCharsets.UTF_8));
      count += Long.parseLong(totals.substring(0, totals.indexOf(' ')));
      sum += Double.parseDouble(totals.substring(totals.indexOf(' ') + 1));
    }
    String hash = HexFormat.of().formatHex(digest.digest(), 0, 8);
    System.out.printf(
        "{\"updates\":%d,\"windows\":%d,\"count\":%d,\"sum\":%.2f,\"hash\":\"%s\"}%n",
        updates, names.length, count, sum, hash);
  }

  /** Epoch milliseconds, or a time as text. */
  private static long windowStart(String text) {
    return text.startsWith("\"")
        ? java.time.Instant.parse(text.substring(1, text.length() - 1)).toEpochMilli()
        : Long.parseLong(text);
  }
}
