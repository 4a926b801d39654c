import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.serialization.ByteArrayDeserializer;

/**
 * Prints again and again how many records of a topic a reader at read_committed has seen, until it is killed.
 *
 *   java -cp '<kafka jars>' Count.java <bootstrap servers> <topic> <partitions>
 */
public class Count {
  public static void main(String[] args) {
    List<TopicPartition> partitions = new ArrayList<>();
    for (int i = 0; i < Integer.parseInt(args[2]); i++) partitions.add(new TopicPartition(args[1], i));
    Map<String, Object> settings =
        Map.of(
            "bootstrap.servers", args[0],
            "isolation.level", "read_committed",
            "enable.auto.commit", false,
            "key.deserializer", ByteArrayDeserializer.class,
            "value.deserializer", ByteArrayDeserializer.class);
    long seen = 0;
    try (KafkaConsumer<byte[], byte[]> consumer = new KafkaConsumer<>(settings)) {
      consumer.assign(partitions);
      consumer.seekToBeginning(partitions);
      while (true) {
        seen += consumer.poll(Duration.ofMillis(300)).count();
        System.out.println(seen);
      }
    }
  }
}
