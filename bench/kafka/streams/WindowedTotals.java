import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.Properties;
import org.apache.kafka.clients.consumer.ConsumerConfig;
import org.apache.kafka.clients.producer.ProducerConfig;
import org.apache.kafka.common.serialization.Deserializer;
import org.apache.kafka.common.serialization.Serde;
import org.apache.kafka.common.serialization.Serdes;
import org.apache.kafka.common.serialization.Serializer;
import org.apache.kafka.streams.KafkaStreams;
import org.apache.kafka.streams.KeyValue;
import org.apache.kafka.streams.StreamsBuilder;
import org.apache.kafka.streams.StreamsConfig;
import org.apache.kafka.streams.kstream.Consumed;
import org.apache.kafka.streams.kstream.Grouped;
import org.apache.kafka.streams.kstream.Materialized;
import org.apache.kafka.streams.kstream.Produced;
import org.apache.kafka.streams.kstream.TimeWindows;
import org.apache.kafka.streams.state.WindowStore;

/**
 * bench/windowed-totals.ts in Kafka Streams: count and sum by key in five-minute windows, 30 s
 * grace, an update with each commit. KAFKA_BROKERS, TOPIC_IN, TOPIC_OUT, GROUP, COMMIT_MS and
 * DATA_DIR come from the environment. Tuned: one thread, RocksDB behind a cache of 10 MB, fields
 * read straight out of the bytes, fixed-size accumulators, no logging.
 */
public final class WindowedTotals {
  private static final long WINDOW_MS = 300_000;

  record Totals(long count, double sum) {}

  static final class TotalsSerde implements Serde<Totals> {
    @Override
    public Serializer<Totals> serializer() {
      return (topic, totals) ->
          totals == null
              ? null
              : ByteBuffer.allocate(16).putLong(totals.count()).putDouble(totals.sum()).array();
    }

    @Override
    public Deserializer<Totals> deserializer() {
      return (topic, bytes) -> {
        if (bytes == null) return null;
        ByteBuffer buffer = ByteBuffer.wrap(bytes);
        return new Totals(buffer.getLong(), buffer.getDouble());
      };
    }
  }

  public static void main(String[] arguments) {
    String commitMs = env("COMMIT_MS", "1000");
    Properties properties = new Properties();
    properties.put(StreamsConfig.APPLICATION_ID_CONFIG, env("GROUP", "streams-windowed-totals"));
    properties.put(StreamsConfig.BOOTSTRAP_SERVERS_CONFIG, env("KAFKA_BROKERS", "localhost:9092"));
    properties.put(StreamsConfig.PROCESSING_GUARANTEE_CONFIG, StreamsConfig.EXACTLY_ONCE_V2);
    properties.put(StreamsConfig.NUM_STREAM_THREADS_CONFIG, 1);
    properties.put(StreamsConfig.COMMIT_INTERVAL_MS_CONFIG, commitMs);
    properties.put(StreamsConfig.STATESTORE_CACHE_MAX_BYTES_CONFIG, 10 * 1024 * 1024L);
    properties.put(StreamsConfig.REPLICATION_FACTOR_CONFIG, 1);
    properties.put(StreamsConfig.STATE_DIR_CONFIG, env("DATA_DIR", "/tmp/streams-windowed-totals"));
    properties.put(StreamsConfig.consumerPrefix(ConsumerConfig.AUTO_OFFSET_RESET_CONFIG), "earliest");
    properties.put(StreamsConfig.consumerPrefix(ConsumerConfig.MAX_POLL_RECORDS_CONFIG), 5000);
    properties.put(StreamsConfig.producerPrefix(ProducerConfig.LINGER_MS_CONFIG), 20);
    properties.put(StreamsConfig.producerPrefix(ProducerConfig.BATCH_SIZE_CONFIG), 262_144);

    StreamsBuilder builder = new StreamsBuilder();
    builder.stream(
            env("TOPIC_IN", "windowed-totals-in"),
            Consumed.with(Serdes.String(), Serdes.ByteArray())
                .withTimestampExtractor((record, partitionTime) -> Event.timeMs((byte[]) record.value())))
        .groupByKey(Grouped.with(Serdes.String(), Serdes.ByteArray()))
        .windowedBy(TimeWindows.ofSizeAndGrace(Duration.ofMillis(WINDOW_MS), Duration.ofSeconds(30)))
        .aggregate(
            () -> new Totals(0, 0),
            (key, event, totals) -> new Totals(totals.count() + 1, totals.sum() + Event.amount(event)),
            Materialized.<String, Totals, WindowStore<org.apache.kafka.common.utils.Bytes, byte[]>>as("totals")
                .withKeySerde(Serdes.String())
                .withValueSerde(new TotalsSerde())
                .withRetention(Duration.ofMillis(WINDOW_MS + 30_000)))
        .toStream()
        .map((window, totals) -> KeyValue.pair(window.key(), json(window.key(), window.window().start(), totals)))
        .to(env("TOPIC_OUT", "windowed-totals-out"), Produced.with(Serdes.String(), Serdes.ByteArray()));

    KafkaStreams streams = new KafkaStreams(builder.build(), properties);
    Runtime.getRuntime().addShutdownHook(new Thread(() -> streams.close(Duration.ofSeconds(20))));
    streams.start();
  }

  private static byte[] json(String key, long start, Totals totals) {
    StringBuilder text = new StringBuilder(100);
    text.append("{\"key\":\"").append(key).append("\",\"window_start\":").append(start);
    text.append(",\"count\":").append(totals.count()).append(",\"sum\":").append(totals.sum()).append('}');
    return text.toString().getBytes(StandardCharsets.UTF_8);
  }

  private static String env(String name, String otherwise) {
    String value = System.getenv(name);
    return value == null || value.isEmpty() ? otherwise : value;
  }
}
