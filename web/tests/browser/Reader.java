// A consumer of a group, as somebody else's program is one: it joins, reads so many events, commits, stays in the group while its standard
// input is open, and leaves. Run as a single file: java -cp 'JARS/*' Reader.java SERVERS GROUP TOPICS EVENTS
import java.time.Duration;
import java.util.Properties;
import java.util.concurrent.atomic.AtomicBoolean;
import java.util.regex.Pattern;
import org.apache.kafka.clients.consumer.ConsumerRecords;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.common.serialization.ByteArrayDeserializer;

class Reader {
    public static void main(String[] args) throws Exception {
        var settings = new Properties();
        settings.put("bootstrap.servers", args[0]);
        settings.put("group.id", args[1]);
        settings.put("client.id", "reader");
        settings.put("auto.offset.reset", "earliest");
        settings.put("enable.auto.commit", "false");
        settings.put("isolation.level", "read_committed");
        settings.put("max.poll.records", "1");
        settings.put("metadata.max.age.ms", "1000");
        var ends = new AtomicBoolean();
        var input = new Thread(() -> {
            try {
                while (System.in.read() >= 0) {}
            } catch (java.io.IOException gone) {
                // Then nobody waits for it.
            }
            ends.set(true);
        });
        input.setDaemon(true);
        input.start();
        int wanted = Integer.parseInt(args[3]);
        int read = 0;
        var bytes = new ByteArrayDeserializer();
        try (var consumer = new KafkaConsumer<>(settings, bytes, bytes)) {
            consumer.subscribe(Pattern.compile(args[2]));
            while (!ends.get()) {
                ConsumerRecords<byte[], byte[]> some = consumer.poll(Duration.ofMillis(100));
                if (some.isEmpty()) continue;
                read += some.count();
                consumer.commitSync();
                if (read < wanted) continue;
                System.out.println("read " + read);
                // It reads nothing more, and stays a member.
                consumer.pause(consumer.assignment());
            }
        }
        System.out.println("left");
    }
}
