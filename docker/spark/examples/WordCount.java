// A word count over two shuffles, which checks its own result: the job by which a cluster is tried.
//
//   spark-submit JAR [MAPS [REDUCERS [WORDS_PER_MAP [ROUNDS [SECONDS_PER_ROUND]]]]]     4 4 50000 1 0
//
// The words are made from their numbers, so that the right counts are known without a file that every node can read. Each
// round reads the first shuffle again, without running the maps again; whoever wants to disturb it does so in the pause
// between the rounds, or in the rounds. The last line says how often a map was run: more often than there are maps means
// that what was written had been lost. Exit code 1 if a count is wrong.
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.stream.Collectors;
import java.util.stream.IntStream;
import org.apache.spark.api.java.JavaPairRDD;
import org.apache.spark.api.java.JavaSparkContext;
import org.apache.spark.util.LongAccumulator;
import scala.Tuple2;

public final class WordCount {
  private static final int VOCABULARY = 1000;
  // Makes a word about as large as a record of a real job.
  private static final String PADDING = "x".repeat(80);

  private static int number(int map, int i) {
    return Math.floorMod(map * 31 + i * 7 + i / 13, VOCABULARY);
  }

  private static int argument(String[] args, int index, int otherwise) {
    return args.length > index ? Integer.parseInt(args[index]) : otherwise;
  }

  public static void main(String[] args) throws InterruptedException {
    final int maps = argument(args, 0, 4);
    final int reducers = argument(args, 1, 4);
    final int wordsPerMap = argument(args, 2, 50000);
    final int rounds = argument(args, 3, 1);
    final int seconds = argument(args, 4, 0);

    final long[] expected = new long[VOCABULARY];
    for (int map = 0; map < maps; map++) {
      for (int i = 0; i < wordsPerMap; i++) expected[number(map, i)]++;
    }

    boolean right = true;
    try (JavaSparkContext spark = new JavaSparkContext(new org.apache.spark.SparkConf().setAppName("word count"))) {
      final LongAccumulator mapsRun = spark.sc().longAccumulator("maps run");
      final List<Integer> numbers = IntStream.range(0, maps).boxed().collect(Collectors.toList());
      // Not reduced before it is shuffled: every word crosses.
      final JavaPairRDD<Integer, Iterable<String>> grouped = spark.parallelize(numbers, maps).mapPartitionsToPair(part -> {
        final int map = part.next();
        mapsRun.add(1);
        final List<Tuple2<Integer, String>> words = new ArrayList<>(wordsPerMap);
        for (int i = 0; i < wordsPerMap; i++) words.add(new Tuple2<>(number(map, i), i + PADDING));
        return words.iterator();
      }).groupByKey(reducers);

      for (int round = 0; round < rounds; round++) {
        if (round > 0) Thread.sleep(seconds * 1000L);
        final long start = System.nanoTime();
        final Map<Integer, Long> counts = grouped.mapToPair(group -> {
          long count = 0;
          for (final String ignored : group._2) count++;
          return new Tuple2<>(group._1, count);
        }).sortByKey(true, reducers).collectAsMap();
        final long[] found = new long[VOCABULARY];
        counts.forEach((word, count) -> found[word] = count);
        final boolean same = Arrays.equals(found, expected);
        right = right && same;
        System.out.printf("round %d: %s in %.1f s%n", round + 1, same ? "right" : "WRONG", (System.nanoTime() - start) / 1e9);
      }
      System.out.printf("word count %s: %d words, %d distinct, %d map tasks run for %d maps%n", right ? "right" : "WRONG",
          (long) maps * wordsPerMap, VOCABULARY, mapsRun.value(), maps);
    }
    System.exit(right ? 0 : 1);
  }
}
