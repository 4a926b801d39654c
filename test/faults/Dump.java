import java.io.BufferedOutputStream;
import java.io.PrintStream;
import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Base64;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.serialization.ByteArrayDeserializer;

/**
 * Prints what a reader at read_committed sees of topics up to their last stable offsets, one JSON object a line,
 * and then for each partition whether a transaction is still open in it.
 *
 *   java -cp '<kafka jars>' Dump.java <bootstrap servers> <topic>...
 */
public class Dump {
  public static void main(String[] args) {
    PrintStream out = new PrintStream(new BufferedOutputStream(System.out, 1 << 16), false, StandardCharsets.UTF_8);
    Map<TopicPartition, Long> stable;
    List<TopicPartition> partitions = new ArrayList<>();
    try (KafkaConsumer<byte[], byte[]> consumer = consumer(args[0], "read_committed")) {
      for (int i = 1; i < args.length; i++) {
        for (var partition : consumer.partitionsFor(args[i])) {
          partitions.add(new TopicPartition(partition.topic(), partition.partition()));
        }
      }
      consumer.assign(partitions);
      consumer.seekToBeginning(partitions);
      stable = consumer.endOffsets(partitions);
      while (partitions.stream().anyMatch(p -> consumer.position(p) < stable.get(p))) {
        for (var record : consumer.poll(Duration.ofMillis(200))) {
          if (record.offset() < stable.get(new TopicPartition(record.topic(), record.partition()))) print(out, record);
        }
      }
    }
    try (KafkaConsumer<byte[], byte[]> consumer = consumer(args[0], "read_uncommitted")) {
      var ends = consumer.endOffsets(partitions);
      for (var partition : partitions) {
        out.printf(
            "{\"topic\":\"%s\",\"partition\":%d,\"stable\":%d,\"end\":%d}%n",
            partition.topic(), partition.partition(), stable.get(partition), ends.get(partition));
      }
    }
    out.flush();
  }

  private static KafkaConsumer<byte[], byte[]> consumer(String servers, String isolation) {
    Map<String, Object> settings = new HashMap<>();
    settings.put("bootstrap.servers", servers);
    settings.put("isolation.level", isolation);
    settings.put("enable.auto.commit", false);
    settings.put("key.deserializer", ByteArrayDeserializer.class);
    settings.put("value.deserializer", ByteArrayDeserializer.class);
    return new KafkaConsumer<>(settings);
  }

  private static void print(PrintStream out, ConsumerRecord<byte[], byte[]> record) {
    boolean isMark = record.headers().lastHeader("millrace-mark") != null;
    out.printf(
        "{\"topic\":\"%s\",\"partition\":%d,\"offset\":%d,\"mark\":%b,\"key\":%s,\"value\":%s}%n",
        record.topic(), record.partition(), record.offset(), isMark, base64(record.key()), base64(record.value()));
  }

  private static String base64(byte[] bytes) {
    return bytes == null ? "null" : '"' + Base64.getEncoder().encodeToString(bytes) + '"';
  }
}
