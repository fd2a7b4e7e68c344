package peers.core;

import java.util.Arrays;

/** What an agent's bursts teach: its own threshold, from clean bursts an hour past, at most once a day. */
final class Bursts {
    private static final int LESSONS_MAX = 64;
    private static final int MAX_THRESHOLD = 60;

    int learned;
    private long learnedAtUs = Long.MIN_VALUE;
    private boolean running;
    private boolean clean;
    private long lastUs;
    private int peak;
    private int lessons;
    private long[] lessonUs = new long[2];
    private int[] lessonPeak = new int[2];

    /** Closes a run that has ended, and learns from the clean ones that lie far enough back. */
    void learn(long time, long watermark, long window, int least) {
        if (running && time - lastUs > window) {
            running = false;
            if (clean && lessons < LESSONS_MAX) {
                int at = lessons;
                while (at > 0 && lessonUs[at - 1] > lastUs) {
                    at--;
                }
                if (lessons == lessonUs.length) {
                    lessonUs = Arrays.copyOf(lessonUs, lessons * 2);
                    lessonPeak = Arrays.copyOf(lessonPeak, lessons * 2);
                }
                System.arraycopy(lessonUs, at, lessonUs, at + 1, lessons - at);
                System.arraycopy(lessonPeak, at, lessonPeak, at + 1, lessons - at);
                lessonUs[at] = lastUs;
                lessonPeak[at] = Math.min(peak, MAX_THRESHOLD);
                lessons++;
            }
        }
        if (lessons == 0 || learnedAtUs != Long.MIN_VALUE && watermark - learnedAtUs < Time.DAY) {
            return;
        }
        int ripe = 0;
        int most = 0;
        while (ripe < lessons && watermark - lessonUs[ripe] > Time.HOUR) {
            most = Math.max(most, lessonPeak[ripe++]);
        }
        if (ripe == 0) {
            return;
        }
        lessons -= ripe;
        System.arraycopy(lessonUs, ripe, lessonUs, 0, lessons);
        System.arraycopy(lessonPeak, ripe, lessonPeak, 0, lessons);
        int old = Math.max(learned, least);
        learned = Math.min(MAX_THRESHOLD, Math.max(old, Math.min(most + 1, old + old / 2)));
        learnedAtUs = watermark;
    }

    boolean isRunning() {
        return running;
    }

    /** Takes a payment into the run; {@code count} is its burst signal's measure, 0 without one. */
    void settle(long time, int count, boolean harmless) {
        if (!running) {
            running = true;
            clean = true;
            lastUs = time;
            peak = 0;
        }
        clean &= harmless;
        if (count > 0) {
            lastUs = Math.max(lastUs, time);
            peak = Math.max(peak, count);
        }
    }

    void write(Buf out) {
        out.uv(learned);
        out.i64(learnedAtUs);
        out.u8((running ? 1 : 0) | (clean ? 2 : 0));
        out.i64(lastUs);
        out.uv(peak);
        out.uv(lessons);
        for (int at = 0; at < lessons; at++) {
            out.i64(lessonUs[at]);
            out.uv(lessonPeak[at]);
        }
    }

    static Bursts read(Buf in) {
        Bursts bursts = new Bursts();
        bursts.learned = in.uvInt();
        bursts.learnedAtUs = in.i64();
        int flags = in.u8();
        bursts.running = (flags & 1) != 0;
        bursts.clean = (flags & 2) != 0;
        bursts.lastUs = in.i64();
        bursts.peak = in.uvInt();
        bursts.lessons = in.uvInt();
        bursts.lessonUs = new long[Math.max(2, bursts.lessons)];
        bursts.lessonPeak = new int[bursts.lessonUs.length];
        for (int at = 0; at < bursts.lessons; at++) {
            bursts.lessonUs[at] = in.i64();
            bursts.lessonPeak[at] = in.uvInt();
        }
        return bursts;
    }
}
