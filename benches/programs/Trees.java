// Trees on a Java virtual machine. See README.md beside this file.
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.LongBuffer;

public final class Trees {
    static final int NODES = 256, BUCKETS = 1024, LONGS = 1 << 16, LONG_NS = 50_000, THREADS = 2;

    static final class Node {
        Node left, right;
        int i = 1, j;
    }

    /** What one thread has seen. The tables are outside the heap. */
    static final class Run {
        final int[] buckets = new int[BUCKETS];
        final LongBuffer longs =
            ByteBuffer.allocateDirect(16 * LONGS).order(ByteOrder.nativeOrder()).asLongBuffer();
        long first, last, end, lost;
        int nodes;

        void begin() {
            first = last = System.nanoTime();
        }

        void tick() {
            if (++nodes % NODES != 0) return;
            long t = System.nanoTime(), gap = t - last;
            buckets[bucket(gap)]++;
            if (gap >= LONG_NS) {
                if (longs.remaining() >= 2) longs.put(last - first).put(gap);
                else lost++;
            }
            last = t;
        }

        Node node(Node left, Node right) {
            Node n = new Node();
            n.left = left;
            n.right = right;
            tick();
            return n;
        }

        Node bottomUp(int depth) {
            if (depth == 0) return node(null, null);
            Node left = bottomUp(depth - 1);
            return node(left, bottomUp(depth - 1));
        }

        void topDown(int depth, Node n) {
            if (depth == 0) return;
            n.left = node(null, null);
            n.right = node(null, null);
            topDown(depth - 1, n.left);
            topDown(depth - 1, n.right);
        }

        long sum(Node n) {
            if (n == null) return 0;
            tick();
            return n.i + sum(n.left) + sum(n.right);
        }

        long gcbench(int depth) {
            final int array = 500_000;
            long result = 0;
            Node longLived = node(null, null);
            topDown(depth, longLived);
            double[] numbers = new double[array];
            for (int i = 0; i < array; i++) numbers[i] = 1.0 / (i + 1);
            for (int d = 4; d <= 16; d += 2) {
                int times = ((2 << 18) / ((2 << d) - 1) * 2) << Math.max(0, depth - 21);
                for (int i = 0; i < times; i++) {
                    Node tree = node(null, null);
                    topDown(d, tree);
                    result += tree.i;
                }
                for (int i = 0; i < times; i++) result += bottomUp(d).i;
            }
            return result + sum(longLived) + (numbers[1000] == 1.0 / 1001 ? 1 : 0);
        }

        long binary(int depth) {
            long result = 0;
            Node longLived = bottomUp(depth);
            for (int d = 4; d <= depth; d += 4) {
                int times = 1 << (depth - d + 2);
                for (int i = 0; i < times; i++) result += sum(bottomUp(d));
            }
            return result + sum(longLived);
        }

        void print(StringBuilder out, int thread) {
            for (int b = 0; b < BUCKETS; b++)
                if (buckets[b] != 0) out.append("gap ").append(b).append(' ').append(buckets[b]).append('\n');
            longs.flip();
            while (longs.hasRemaining())
                out.append("long ").append(thread).append(' ').append(longs.get()).append(' ')
                    .append(longs.get()).append('\n');
            out.append("lost ").append(lost).append("\nrun ").append(thread).append(' ')
                .append(end - first).append('\n');
        }
    }

    static int bucket(long ns) {
        int log = 63 - Long.numberOfLeadingZeros(ns | 1);
        int bits = (int) (log >= 4 ? ns >> (log - 4) : ns << (4 - log)) & 15;
        return log * 16 + bits;
    }

    public static void main(String[] args) throws Exception {
        int depth = Integer.parseInt(args[1]);
        int threads = args[0].equals("threads") ? THREADS : 1;
        Run[] runs = new Run[threads];
        long[] results = new long[threads];
        Thread[] all = new Thread[threads];
        for (int t = 0; t < threads; t++) {
            final int number = t;
            runs[t] = new Run();
            all[t] = new Thread(null, () -> {
                Run run = runs[number];
                run.begin();
                results[number] = args[0].equals("threads") ? run.binary(depth - 1)
                    : args[0].equals("gcbench") ? run.gcbench(depth) : run.binary(depth);
                run.end = System.nanoTime();
            }, "trees", 64 << 20);
            all[t].start();
        }
        long result = 0;
        for (int t = 0; t < threads; t++) {
            all[t].join();
            result += results[t];
        }
        StringBuilder out = new StringBuilder("result " + result + "\nthreads " + threads + "\n");
        for (int t = 0; t < threads; t++) runs[t].print(out, t);
        System.out.print(out);
    }
}
