package peers.flink;

import java.io.BufferedReader;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.TreeMap;
import java.util.stream.Stream;
import org.apache.flink.api.common.RuntimeExecutionMode;
import org.apache.flink.api.common.eventtime.WatermarkStrategy;
import org.apache.flink.api.common.functions.RichFlatMapFunction;
import org.apache.flink.api.common.typeinfo.TypeInformation;
import org.apache.flink.api.common.typeinfo.Types;
import org.apache.flink.api.java.typeutils.ResultTypeQueryable;
import org.apache.flink.api.java.typeutils.RowTypeInfo;
import org.apache.flink.configuration.Configuration;
import org.apache.flink.configuration.MemorySize;
import org.apache.flink.configuration.PipelineOptions;
import org.apache.flink.configuration.TaskManagerOptions;
import org.apache.flink.connector.file.src.FileSource;
import org.apache.flink.connector.file.src.reader.TextLineInputFormat;
import org.apache.flink.connector.kafka.source.KafkaSource;
import org.apache.flink.connector.kafka.source.enumerator.initializer.OffsetsInitializer;
import org.apache.flink.connector.kafka.source.reader.deserializer.KafkaRecordDeserializationSchema;
import org.apache.flink.streaming.api.datastream.DataStream;
import org.apache.flink.streaming.api.environment.StreamExecutionEnvironment;
import org.apache.flink.table.api.EnvironmentSettings;
import org.apache.flink.table.api.StatementSet;
import org.apache.flink.table.api.Table;
import org.apache.flink.table.api.bridge.java.StreamTableEnvironment;
import org.apache.flink.types.Row;
import org.apache.flink.util.Collector;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import peers.core.Args;
import peers.core.Engine;
import peers.core.Json;
import peers.core.Mandate;
import peers.core.Money;
import peers.core.Time;
import peers.core.Transaction;
import peers.core.Watermark;

/** The views of {@link Views} in batch mode over files or, with --brokers, over topics to their present end. */
final class SqlJob {
    private static final RowTypeInfo TRANSACTION = new RowTypeInfo(
            new TypeInformation<?>[] {Types.STRING, Types.STRING, Types.STRING, Types.STRING, Types.STRING, Types.STRING, Types.STRING,
                Types.LONG, Types.LONG, Types.LONG, Types.LONG, Types.BOOLEAN, Types.LONG},
            new String[] {"tx_id", "agent_id", "user_id", "mandate_id", "merchant", "category", "currency",
                "amount", "tx_us", "lat_e7", "lng_e7", "late", "seq"});
    private static final RowTypeInfo MANDATE = new RowTypeInfo(
            new TypeInformation<?>[] {Types.STRING, Types.STRING, Types.LONG, Types.STRING, Types.STRING, Types.LONG, Types.LONG, Types.BOOLEAN, Types.LONG},
            new String[] {"mandate_id", "scope_merchant", "max_amount", "cap_period", "currency", "valid_from", "valid_to", "deleted", "seq"});

    private SqlJob() {}

    static void run(Args args) throws Exception {
        long begun = System.nanoTime();
        Configuration config = new Configuration();
        config.set(PipelineOptions.OBJECT_REUSE, true);
        config.set(TaskManagerOptions.MANAGED_MEMORY_SIZE, MemorySize.ofMebiBytes(args.number("managed-mb", 2048)));
        config.set(TaskManagerOptions.NETWORK_MEMORY_MIN, MemorySize.ofMebiBytes(256));
        config.set(TaskManagerOptions.NETWORK_MEMORY_MAX, MemorySize.ofMebiBytes(256));
        StreamExecutionEnvironment env = StreamExecutionEnvironment.createLocalEnvironment(args.number("parallelism", 2), config);
        env.setRuntimeMode(RuntimeExecutionMode.BATCH);
        StreamTableEnvironment tables = StreamTableEnvironment.create(env, EnvironmentSettings.inBatchMode());

        tables.createTemporaryView("read_transactions", tables.fromDataStream(transactions(args, env)));
        tables.createTemporaryView("read_mandates", tables.fromDataStream(mandates(args, env)));
        // The first of each repeated transaction, the newest of each mandate.
        tables.createTemporaryView("transactions", tables.sqlQuery(
                "SELECT * FROM (SELECT *, ROW_NUMBER() OVER (PARTITION BY user_id, tx_id ORDER BY seq) AS place FROM read_transactions)"
                        + " WHERE place = 1"));
        tables.createTemporaryView("mandates", tables.sqlQuery(
                "SELECT * FROM (SELECT *, ROW_NUMBER() OVER (PARTITION BY mandate_id ORDER BY seq DESC) AS place FROM read_mandates)"
                        + " WHERE place = 1 AND NOT deleted"));

        Main.STATS.print();
        Map<String, Long> rows = new TreeMap<>();
        Path out = Path.of(args.need("out")).toAbsolutePath();
        // All views in one job, which reads and parses once; whole rows are written, so that nothing can be left out.
        StatementSet set = tables.createStatementSet();
        for (Map.Entry<String, String> view : Views.ALL.entrySet()) {
            Table table = tables.sqlQuery(view.getValue());
            List<String> columns = new ArrayList<>();
            table.getResolvedSchema().getColumns().forEach(column ->
                    columns.add("`" + column.getName() + "` " + column.getDataType().getLogicalType().copy(true).asSerializableString()));
            tables.executeSql("CREATE TEMPORARY TABLE out_" + view.getKey() + " (" + String.join(", ", columns)
                    + ") WITH ('connector' = 'filesystem', 'format' = 'json', 'path' = '" + out.resolve(view.getKey()).toUri() + "')");
            set.add(table.insertInto("out_" + view.getKey(), true));
        }
        if (args.get("explain", "false").equals("true")) {
            System.err.println(set.explain());
        }
        set.execute().await();
        for (String view : Views.ALL.keySet()) {
            rows.put(view, count(out.resolve(view)));
        }
        StringBuilder line = new StringBuilder(String.format(Locale.ROOT, "{\"records\":%d,\"elapsed_s\":%.3f,\"views\":{",
                Main.STATS.records(), (System.nanoTime() - begun) / 1e9));
        String comma = "";
        for (Map.Entry<String, Long> view : rows.entrySet()) {
            line.append(comma).append('"').append(view.getKey()).append("\":").append(view.getValue());
            comma = ",";
        }
        System.out.println(line.append("},\"final\":true}"));
        System.out.flush();
        Runtime.getRuntime().halt(0);
    }

    private static long count(Path folder) throws IOException {
        long rows = 0;
        if (!Files.isDirectory(folder)) {
            return 0;
        }
        try (Stream<Path> files = Files.walk(folder)) {
            for (Path file : files.filter(Files::isRegularFile).toList()) {
                try (BufferedReader in = Files.newBufferedReader(file)) {
                    rows += in.lines().count();
                }
            }
        }
        return rows;
    }

    private static DataStream<Row> transactions(Args args, StreamExecutionEnvironment env) {
        String from = args.need("transactions");
        if (!args.get("brokers", "").isEmpty()) {
            return env.fromSource(kafka(args, from, new KafkaTransactions()), WatermarkStrategy.noWatermarks(), "transactions", TRANSACTION);
        }
        // One reader, in the order of the file, as the watermark needs it.
        return env.fromSource(file(from), WatermarkStrategy.noWatermarks(), "transactions").setParallelism(1)
                .flatMap(new FileTransactions()).returns(TRANSACTION).setParallelism(1);
    }

    private static DataStream<Row> mandates(Args args, StreamExecutionEnvironment env) {
        String from = args.need("mandates");
        if (!args.get("brokers", "").isEmpty()) {
            return env.fromSource(kafka(args, from, new KafkaMandates()), WatermarkStrategy.noWatermarks(), "mandates", MANDATE);
        }
        return env.fromSource(file(from), WatermarkStrategy.noWatermarks(), "mandates").setParallelism(1)
                .flatMap(new FileMandates()).returns(MANDATE).setParallelism(1);
    }

    private static FileSource<String> file(String path) {
        return FileSource.forRecordStreamFormat(new TextLineInputFormat(), new org.apache.flink.core.fs.Path(Path.of(path).toAbsolutePath().toUri()))
                .build();
    }

    private static KafkaSource<Row> kafka(Args args, String topic, KafkaRecordDeserializationSchema<Row> schema) {
        return KafkaSource.<Row>builder().setBootstrapServers(args.need("brokers")).setTopics(topic)
                .setStartingOffsets(OffsetsInitializer.earliest()).setBounded(OffsetsInitializer.latest()).setDeserializer(schema)
                .setProperty("max.poll.records", "5000").setProperty("isolation.level", "read_committed").build();
    }

    private static Row row(Transaction tx, Watermark watermark, long seq) {
        Main.STATS.read();
        return Row.of(tx.txId, tx.agentId, tx.userId, tx.mandateId, tx.merchant, tx.category, tx.currency, tx.amount, tx.timeUs,
                tx.located ? (Long) (long) tx.latE7 : null, tx.located ? (Long) (long) tx.lngE7 : null,
                Engine.isLate(tx, watermark.observe(tx.countingUs())), seq);
    }

    private static Row row(Mandate mandate, long seq) {
        return Row.of(mandate.mandateId, mandate.scopeMerchant, mandate.maxAmount == Money.NONE ? null : mandate.maxAmount,
                mandate.period.name().toLowerCase(Locale.ROOT), mandate.currency,
                mandate.validFrom == Time.NONE ? null : mandate.validFrom, mandate.validTo == Time.NONE ? null : mandate.validTo,
                mandate.deleted, seq);
    }

    /** Lines of a file, in order. */
    static final class FileTransactions extends RichFlatMapFunction<String, Row> {
        private transient Watermark watermark;
        private transient long seq;

        @Override
        public void flatMap(String line, Collector<Row> out) {
            watermark = watermark == null ? new Watermark() : watermark;
            Transaction tx = Json.transaction(line.getBytes(StandardCharsets.UTF_8));
            if (tx.error != null) {
                Main.STATS.rejected();
                return;
            }
            out.collect(row(tx, watermark, seq++));
        }
    }

    static final class FileMandates extends RichFlatMapFunction<String, Row> {
        private transient long seq;

        @Override
        public void flatMap(String line, Collector<Row> out) {
            Mandate mandate = Json.mandate(line.getBytes(StandardCharsets.UTF_8));
            if (mandate != null) {
                out.collect(row(mandate, seq++));
            }
        }
    }

    /** Records of the topic; each partition has its own watermark. */
    static final class KafkaTransactions implements KafkaRecordDeserializationSchema<Row>, ResultTypeQueryable<Row> {
        private transient Map<Integer, Watermark> watermarks;

        @Override
        public void deserialize(ConsumerRecord<byte[], byte[]> record, Collector<Row> out) {
            watermarks = watermarks == null ? new HashMap<>() : watermarks;
            Transaction tx = Json.transaction(record.value());
            if (tx.error != null) {
                Main.STATS.rejected();
                return;
            }
            out.collect(row(tx, watermarks.computeIfAbsent(record.partition(), partition -> new Watermark()), record.offset()));
        }

        @Override
        public TypeInformation<Row> getProducedType() {
            return TRANSACTION;
        }
    }

    static final class KafkaMandates implements KafkaRecordDeserializationSchema<Row>, ResultTypeQueryable<Row> {
        @Override
        public void deserialize(ConsumerRecord<byte[], byte[]> record, Collector<Row> out) {
            Mandate mandate = null;
            if (record.value() != null && record.value().length > 0) {
                mandate = Json.mandate(record.value());
            } else if (record.key() != null) {
                mandate = new Mandate();
                mandate.mandateId = new String(record.key(), StandardCharsets.UTF_8);
                mandate.deleted = true;
            }
            if (mandate != null) {
                out.collect(row(mandate, record.offset()));
            }
        }

        @Override
        public TypeInformation<Row> getProducedType() {
            return MANDATE;
        }
    }
}
