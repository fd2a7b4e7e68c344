package peers.streams;

import java.time.Duration;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Properties;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.ExecutionException;
import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.admin.AdminClientConfig;
import org.apache.kafka.clients.admin.NewTopic;
import org.apache.kafka.clients.consumer.ConsumerConfig;
import org.apache.kafka.clients.producer.ProducerConfig;
import org.apache.kafka.common.errors.TopicExistsException;
import org.apache.kafka.common.serialization.ByteArrayDeserializer;
import org.apache.kafka.common.serialization.ByteArraySerializer;
import org.apache.kafka.streams.AutoOffsetReset;
import org.apache.kafka.streams.KafkaStreams;
import org.apache.kafka.streams.StreamsConfig;
import org.apache.kafka.streams.Topology;
import org.apache.kafka.streams.errors.StreamsUncaughtExceptionHandler.StreamThreadExceptionResponse;
import org.apache.kafka.streams.state.StoreBuilder;
import org.apache.kafka.streams.state.Stores;
import peers.core.Args;
import peers.core.Stats;

/** The peer on Kafka Streams. */
public final class Main {
    private Main() {}

    enum Mode {
        EOS_MEMORY, EOS_ROCKSDB, ALO_NOLOG;

        static Mode of(String name) {
            return switch (name) {
                case "eos-memory" -> EOS_MEMORY;
                case "eos-rocksdb" -> EOS_ROCKSDB;
                case "alo-nolog" -> ALO_NOLOG;
                default -> throw new IllegalArgumentException("--mode is eos-memory, eos-rocksdb or alo-nolog");
            };
        }
    }

    public static void main(String[] argv) throws Exception {
        Args args = new Args(argv);
        Mode mode = Mode.of(args.get("mode", "eos-memory"));
        createDecisions(args);
        Stats stats = new Stats();
        Topology topology = topology(args, mode, stats);
        KafkaStreams streams = new KafkaStreams(topology, config(args, mode));
        CountDownLatch failed = new CountDownLatch(1);
        streams.setUncaughtExceptionHandler(error -> {
            error.printStackTrace();
            failed.countDown();
            return StreamThreadExceptionResponse.SHUTDOWN_CLIENT;
        });
        stats.closeOnTerm(() -> streams.close(Duration.ofSeconds(30)));
        streams.start();
        stats.print();
        failed.await();
        streams.close(Duration.ofSeconds(10));
        Runtime.getRuntime().halt(1);
    }

    /** The topic of decisions with as many partitions as that of the transactions, unless it is there. */
    private static void createDecisions(Args args) throws InterruptedException {
        String transactions = args.need("transactions");
        try (Admin admin = Admin.create(Map.of(AdminClientConfig.BOOTSTRAP_SERVERS_CONFIG, args.need("brokers")))) {
            int partitions = admin.describeTopics(List.of(transactions)).allTopicNames().get().get(transactions).partitions().size();
            NewTopic topic = new NewTopic(args.need("decisions"), Optional.of(partitions), Optional.empty());
            admin.createTopics(List.of(topic)).all().get();
        } catch (ExecutionException e) {
            if (!(e.getCause() instanceof TopicExistsException)) {
                throw new IllegalStateException(e.getCause());
            }
        }
    }

    private static Topology topology(Args args, Mode mode, Stats stats) {
        Topology topology = new Topology();
        topology.addGlobalStore(new MandateStore.Builder(), "mandates-source", new ByteArrayDeserializer(), new ByteArrayDeserializer(),
                args.need("mandates"), "mandates-update", MandateProcessor::new);
        topology.addSource(AutoOffsetReset.earliest(), "transactions", new Serdes.EventTime(), new ByteArrayDeserializer(),
                new Serdes.TransactionDeserializer(), args.need("transactions"));
        topology.addProcessor("decide", () -> new DecideProcessor(stats), "transactions");
        topology.addStateStore(users(mode), "decide");
        topology.addSink("decisions", args.need("decisions"), new ByteArraySerializer(), new ByteArraySerializer(), "decide");
        return topology;
    }

    private static StoreBuilder<?> users(Mode mode) {
        Map<String, String> log = Map.of("segment.bytes", Integer.toString(256 << 20));
        return switch (mode) {
            case EOS_MEMORY -> new HeapUserStore.Builder(DecideProcessor.STORE).withLoggingEnabled(log);
            case ALO_NOLOG -> new HeapUserStore.Builder(DecideProcessor.STORE).withLoggingDisabled();
            // Through the record cache, which writes each user once a commit to RocksDB and to the changelog.
            case EOS_ROCKSDB -> Stores.keyValueStoreBuilder(Stores.persistentKeyValueStore(DecideProcessor.STORE),
                            org.apache.kafka.common.serialization.Serdes.ByteArray(), Serdes.user())
                    .withCachingEnabled().withLoggingEnabled(log);
        };
    }

    private static Properties config(Args args, Mode mode) {
        Properties config = new Properties();
        config.put(StreamsConfig.APPLICATION_ID_CONFIG, args.need("app-id"));
        config.put(StreamsConfig.BOOTSTRAP_SERVERS_CONFIG, args.need("brokers"));
        config.put(StreamsConfig.PROCESSING_GUARANTEE_CONFIG,
                mode == Mode.ALO_NOLOG ? StreamsConfig.AT_LEAST_ONCE : StreamsConfig.EXACTLY_ONCE_V2);
        config.put(StreamsConfig.COMMIT_INTERVAL_MS_CONFIG, args.number("commit-ms", 100));
        config.put(StreamsConfig.NUM_STREAM_THREADS_CONFIG, args.number("threads", 2));
        config.put(StreamsConfig.STATE_DIR_CONFIG, args.need("state-dir"));
        config.put(StreamsConfig.STATESTORE_CACHE_MAX_BYTES_CONFIG,
                mode == Mode.EOS_ROCKSDB ? args.number("cache-mb", 512) * (1L << 20) : 0L);
        config.put(StreamsConfig.ROCKSDB_CONFIG_SETTER_CLASS_CONFIG, RocksConfig.class);
        config.put(StreamsConfig.BUFFERED_RECORDS_PER_PARTITION_CONFIG, 20_000);
        config.put(StreamsConfig.REPLICATION_FACTOR_CONFIG, args.number("replication", -1));
        config.put(StreamsConfig.consumerPrefix(ConsumerConfig.AUTO_OFFSET_RESET_CONFIG), "earliest");
        // So that the partitions of a killed instance are taken over in seconds.
        config.put(StreamsConfig.consumerPrefix(ConsumerConfig.SESSION_TIMEOUT_MS_CONFIG), args.number("session-ms", 10_000));
        config.put(StreamsConfig.consumerPrefix(ConsumerConfig.MAX_POLL_RECORDS_CONFIG), 5_000);
        config.put(StreamsConfig.consumerPrefix(ConsumerConfig.FETCH_MAX_BYTES_CONFIG), 32 << 20);
        config.put(StreamsConfig.consumerPrefix(ConsumerConfig.MAX_PARTITION_FETCH_BYTES_CONFIG), 4 << 20);
        config.put(StreamsConfig.consumerPrefix(ConsumerConfig.RECEIVE_BUFFER_CONFIG), 1 << 20);
        config.put(StreamsConfig.consumerPrefix(ConsumerConfig.CHECK_CRCS_CONFIG), true);
        config.put(StreamsConfig.producerPrefix(ProducerConfig.LINGER_MS_CONFIG), args.number("linger-ms", 5));
        config.put(StreamsConfig.producerPrefix(ProducerConfig.BATCH_SIZE_CONFIG), 256 << 10);
        config.put(StreamsConfig.producerPrefix(ProducerConfig.BUFFER_MEMORY_CONFIG), 128L << 20);
        config.put(StreamsConfig.producerPrefix(ProducerConfig.COMPRESSION_TYPE_CONFIG), args.get("compression", "lz4"));
        config.put(StreamsConfig.producerPrefix(ProducerConfig.MAX_REQUEST_SIZE_CONFIG), 8 << 20);
        config.put(StreamsConfig.producerPrefix(ProducerConfig.SEND_BUFFER_CONFIG), 1 << 20);
        config.put(StreamsConfig.producerPrefix(ProducerConfig.RETRY_BACKOFF_MS_CONFIG), args.number("retry-backoff-ms", 100));
        config.put(StreamsConfig.producerPrefix(ProducerConfig.ACKS_CONFIG), "all");
        return config;
    }
}
