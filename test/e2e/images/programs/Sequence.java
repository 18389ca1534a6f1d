import com.sun.net.httpserver.HttpExchange;
import com.sun.net.httpserver.HttpServer;
import java.io.IOException;
import java.net.InetSocketAddress;
import java.security.MessageDigest;
import java.util.Arrays;
import java.util.Random;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.Executors;
import java.util.concurrent.atomic.AtomicInteger;

/** GET /next: the next number, remembered on a heap that is checked by GET /check; a thread pool, the collector and the compiler run. */
public final class Sequence {
    private static final byte[] memory = new byte[64 << 20];
    private static final ConcurrentHashMap<Integer, String> given = new ConcurrentHashMap<>();
    private static final AtomicInteger next = new AtomicInteger();

    public static void main(String[] args) throws Exception {
        new Random().nextBytes(memory);
        byte[] before = digest();
        HttpServer server = HttpServer.create(new InetSocketAddress(8080), 64);
        server.setExecutor(Executors.newFixedThreadPool(4));
        server.createContext("/next", exchange -> {
            int number = next.incrementAndGet();
            given.put(number, "value " + number);
            answer(exchange, number + "\n");
        });
        server.createContext("/check", exchange -> {
            boolean isWhole = given.size() == next.get() && Arrays.equals(before, digest());
            for (int i = 1; i <= given.size(); i++) isWhole &= ("value " + i).equals(given.get(i));
            answer(exchange, isWhole ? "ok\n" : "damaged\n");
        });
        server.start();
    }

    private static byte[] digest() {
        try {
            return MessageDigest.getInstance("SHA-256").digest(memory);
        } catch (java.security.NoSuchAlgorithmException e) {
            throw new IllegalStateException(e);
        }
    }

    private static void answer(HttpExchange exchange, String body) throws IOException {
        exchange.sendResponseHeaders(200, body.length());
        try (var out = exchange.getResponseBody()) {
            out.write(body.getBytes());
        }
    }
}
