package peers.flink;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.Comparator;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Properties;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.TimeUnit;
import java.util.stream.Stream;
import org.apache.flink.api.common.eventtime.WatermarkStrategy;
import org.apache.flink.api.common.serialization.SerializationSchema;
import org.apache.flink.api.common.typeinfo.PrimitiveArrayTypeInfo;
import org.apache.flink.api.common.typeinfo.Types;
import org.apache.flink.api.java.tuple.Tuple2;
import org.apache.flink.configuration.CheckpointingOptions;
import org.apache.flink.configuration.Configuration;
import org.apache.flink.configuration.ExecutionOptions;
import org.apache.flink.configuration.ExternalizedCheckpointRetention;
import org.apache.flink.configuration.MemorySize;
import org.apache.flink.configuration.PipelineOptions;
import org.apache.flink.configuration.StateBackendOptions;
import org.apache.flink.configuration.StateRecoveryOptions;
import org.apache.flink.configuration.TaskManagerOptions;
import org.apache.flink.connector.base.DeliveryGuarantee;
import org.apache.flink.connector.kafka.sink.KafkaRecordSerializationSchema;
import org.apache.flink.connector.kafka.sink.KafkaSink;
import org.apache.flink.connector.kafka.sink.TransactionNamingStrategy;
import org.apache.flink.connector.kafka.source.KafkaSource;
import org.apache.flink.connector.kafka.source.KafkaSourceBuilder;
import org.apache.flink.connector.kafka.source.enumerator.initializer.OffsetsInitializer;
import org.apache.flink.core.execution.CheckpointingMode;
import org.apache.flink.core.execution.JobClient;
import org.apache.flink.core.execution.SavepointFormatType;
import org.apache.flink.streaming.api.datastream.SingleOutputStreamOperator;
import org.apache.flink.streaming.api.environment.StreamExecutionEnvironment;
import org.apache.flink.streaming.api.functions.sink.v2.DiscardingSink;
import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.admin.AdminClientConfig;
import org.apache.kafka.clients.admin.NewTopic;
import org.apache.kafka.common.errors.TopicExistsException;
import peers.core.Args;
import peers.core.Transaction;

/** Kafka in, decisions by user, Kafka out exactly once. */
final class ProcessJob {
    private ProcessJob() {}

    static void run(Args args) throws Exception {
        String brokers = args.need("brokers");
        String transactions = args.need("transactions");
        Path stateDir = Path.of(args.need("state-dir")).toAbsolutePath();
        int parallelism = args.number("parallelism", 2);
        boolean toKafka = switch (args.get("sink", "kafka")) {
            case "kafka" -> true;
            case "none" -> false;
            default -> throw new IllegalArgumentException("--sink is kafka or none");
        };

        StreamExecutionEnvironment env = StreamExecutionEnvironment.createLocalEnvironment(parallelism, config(args, stateDir));
        SingleOutputStreamOperator<Tuple2<byte[], byte[]>> decisions = env
                .fromSource(source(args, brokers, transactions), WatermarkStrategy.noWatermarks(), "transactions").uid("transactions")
                .keyBy(tx -> tx.userId, Types.STRING)
                .process(new Decide(brokers, args.need("mandates"))).name("decide").uid("decide")
                .returns(Types.TUPLE(PrimitiveArrayTypeInfo.BYTE_PRIMITIVE_ARRAY_TYPE_INFO, PrimitiveArrayTypeInfo.BYTE_PRIMITIVE_ARRAY_TYPE_INFO));
        if (toKafka) {
            createDecisions(brokers, transactions, args.need("decisions"));
            decisions.sinkTo(sink(args, brokers)).name("decisions").uid("decisions");
        } else {
            decisions.sinkTo(new DiscardingSink<>()).name("nowhere").uid("nowhere");
        }

        JobClient job = env.executeAsync("peers");
        Main.STATS.print();
        peers.core.Stats.onTerm(() -> stop(job, stateDir));
        int code = 0;
        try {
            job.getJobExecutionResult().get();
        } catch (ExecutionException e) {
            e.printStackTrace();
            code = 1;
        }
        System.out.println(Main.STATS.summary());
        System.out.flush();
        Runtime.getRuntime().halt(code);
    }

    private static Configuration config(Args args, Path stateDir) throws IOException {
        Configuration config = new Configuration();
        config.set(PipelineOptions.OBJECT_REUSE, true);
        config.set(StateBackendOptions.STATE_BACKEND, "hashmap");
        config.set(ExecutionOptions.BUFFER_TIMEOUT, Duration.ofMillis(args.number("buffer-timeout-ms", 20)));
        config.set(CheckpointingOptions.CHECKPOINTING_INTERVAL, Duration.ofMillis(args.number("checkpoint-ms", 1000)));
        config.set(CheckpointingOptions.CHECKPOINTING_CONSISTENCY_MODE, CheckpointingMode.EXACTLY_ONCE);
        config.set(CheckpointingOptions.CHECKPOINT_STORAGE, "filesystem");
        config.set(CheckpointingOptions.CHECKPOINTS_DIRECTORY, stateDir.resolve("checkpoints").toUri().toString());
        config.set(CheckpointingOptions.EXTERNALIZED_CHECKPOINT_RETENTION, ExternalizedCheckpointRetention.RETAIN_ON_CANCELLATION);
        config.set(TaskManagerOptions.NETWORK_MEMORY_MIN, MemorySize.ofMebiBytes(128));
        config.set(TaskManagerOptions.NETWORK_MEMORY_MAX, MemorySize.ofMebiBytes(128));
        Optional<Path> latest = latest(stateDir);
        if (latest.isPresent()) {
            config.set(StateRecoveryOptions.SAVEPOINT_PATH, latest.get().toUri().toString());
            System.err.println("from " + latest.get());
        }
        return config;
    }

    /** The newest complete checkpoint or savepoint of an earlier run. */
    private static Optional<Path> latest(Path stateDir) throws IOException {
        if (!Files.isDirectory(stateDir)) {
            return Optional.empty();
        }
        try (Stream<Path> paths = Files.walk(stateDir)) {
            return paths.filter(path -> path.endsWith("_metadata")).max(Comparator.comparing(path -> path.toFile().lastModified()))
                    .map(Path::getParent);
        }
    }

    static KafkaSource<Transaction> source(Args args, String brokers, String topic) {
        KafkaSourceBuilder<Transaction> builder = KafkaSource.<Transaction>builder()
                .setBootstrapServers(brokers).setTopics(topic).setGroupId(args.get("app-id", "peers-flink"))
                .setStartingOffsets(OffsetsInitializer.earliest()).setDeserializer(new TransactionSchema())
                .setProperty("max.poll.records", "5000").setProperty("fetch.max.bytes", Integer.toString(32 << 20))
                .setProperty("max.partition.fetch.bytes", Integer.toString(4 << 20))
                .setProperty("receive.buffer.bytes", Integer.toString(1 << 20))
                .setProperty("isolation.level", "read_committed");
        if (args.get("bounded", "false").equals("true")) {
            builder.setBounded(OffsetsInitializer.latest());
        }
        return builder.build();
    }

    private static KafkaSink<Tuple2<byte[], byte[]>> sink(Args args, String brokers) {
        String topic = args.need("decisions");
        Properties producer = new Properties();
        producer.put("transaction.timeout.ms", "600000");
        producer.put("retry.backoff.ms", args.get("retry-backoff-ms", "100"));
        producer.put("linger.ms", args.get("linger-ms", "5"));
        producer.put("batch.size", Integer.toString(256 << 10));
        producer.put("buffer.memory", Long.toString(128L << 20));
        producer.put("compression.type", args.get("compression", "lz4"));
        producer.put("max.request.size", Integer.toString(8 << 20));
        producer.put("send.buffer.bytes", Integer.toString(1 << 20));
        return KafkaSink.<Tuple2<byte[], byte[]>>builder().setBootstrapServers(brokers).setKafkaProducerConfig(producer)
                .setDeliveryGuarantee(DeliveryGuarantee.EXACTLY_ONCE)
                .setTransactionalIdPrefix(args.get("app-id", "peers-flink"))
                // The same few transactional ids in turn instead of a new one per checkpoint.
                .setTransactionNamingStrategy(TransactionNamingStrategy.POOLING)
                .setRecordSerializer(KafkaRecordSerializationSchema.<Tuple2<byte[], byte[]>>builder().setTopic(topic)
                        .setKeySerializationSchema(new Key())
                        .setValueSerializationSchema(new Value()).build())
                .build();
    }

    /** Classes, because the sink reads their types by reflection. */
    static final class Key implements SerializationSchema<Tuple2<byte[], byte[]>> {
        @Override
        public byte[] serialize(Tuple2<byte[], byte[]> decision) {
            return decision.f0;
        }
    }

    static final class Value implements SerializationSchema<Tuple2<byte[], byte[]>> {
        @Override
        public byte[] serialize(Tuple2<byte[], byte[]> decision) {
            return decision.f1;
        }
    }

    /** The topic of decisions with as many partitions as that of the transactions, unless it is there. */
    private static void createDecisions(String brokers, String transactions, String decisions) throws InterruptedException {
        try (Admin admin = Admin.create(Map.of(AdminClientConfig.BOOTSTRAP_SERVERS_CONFIG, brokers))) {
            int partitions = admin.describeTopics(List.of(transactions)).allTopicNames().get().get(transactions).partitions().size();
            admin.createTopics(List.of(new NewTopic(decisions, Optional.of(partitions), Optional.empty()))).all().get();
        } catch (ExecutionException e) {
            if (!(e.getCause() instanceof TopicExistsException)) {
                throw new IllegalStateException(e.getCause());
            }
        }
    }

    /** Stops with a savepoint, which commits what was decided; if that takes too long, at the last checkpoint. */
    private static void stop(JobClient job, Path stateDir) {
        try {
            job.stopWithSavepoint(false, stateDir.resolve("savepoints").toUri().toString(), SavepointFormatType.NATIVE).get(20, TimeUnit.SECONDS);
        } catch (Exception e) {
            System.err.println("no savepoint: " + e);
            job.cancel();
        }
    }
}
