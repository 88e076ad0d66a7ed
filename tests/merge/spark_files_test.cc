#include "merge/spark_files.h"

#include <catch2/catch_test_macros.hpp>

namespace shufflefs::merge {

// The expected values are Java's: System.out.println("...".hashCode()) and
// DiskBlockManager.getFile.
TEST_CASE("names are hashed as Java does it") {
  CHECK(spark_name_hash("") == 0);
  CHECK(spark_name_hash("a") == 97);
  CHECK(spark_name_hash("hello") == 99162322);
  CHECK(spark_name_hash("shuffle_0_0_0.data") == 581811660);
  CHECK(spark_name_hash("shuffle_3_17_0.index") == 793681805);
  // A negative hash code becomes its absolute value, and the least int, which has none, 0.
  CHECK(spark_name_hash("The quick brown fox jumps over the lazy dog") == 609428141);
  CHECK(spark_name_hash("polygenelubricants") == 0);
}

TEST_CASE("a file lies in the directory and the sub-directory that its hash says") {
  const uint32_t hash = spark_name_hash("hello");
  const SparkPlace place = spark_place("hello", 3, 64);
  CHECK(place.directory == hash % 3);
  CHECK(place.sub_directory == hash / 3 % 64);
  CHECK(spark_path_below({0, 12}, "x") == "0c/x");
  CHECK(spark_path_below({0, 300}, "x") == "12c/x");
  CHECK(spark_file_name(ShuffleId{3}, MapId{17}, SparkFile::kIndex) == "shuffle_3_17_0.index");
  CHECK(spark_checksum_name(ShuffleId{3}, MapId{17}, "ADLER32") ==
        "shuffle_3_17_0.checksum.ADLER32");
  CHECK(spark_checksum_names_of("shuffle_3_17_0.data").front() ==
        "shuffle_3_17_0.checksum.ADLER32");
  CHECK(spark_checksum_names_of("shuffle_3_17_0.index").empty());
}

TEST_CASE("what only a living executor needs is told from what others read") {
  const std::string uuid = "0d9c0b3a-4d4e-4a68-9d10-3a9e4f0c5b11";
  for (const std::string& name :
       {"temp_shuffle_" + uuid, "temp_local_" + uuid, "shuffle_1_2_0.data." + uuid,
        "shuffle_1_2_0.checksum.ADLER32." + uuid, std::string("broadcast_3_piece0"),
        std::string("shuffle_1_2_0.data.tmp"), std::string("shuffle_1_2_0.index.tmp")}) {
    INFO(name);
    CHECK(is_spark_temporary(name));
  }
  for (const std::string& name :
       {std::string("shuffle_1_2_0.data"), std::string("shuffle_1_2_0.index"),
        std::string("shuffle_1_2_0.checksum.ADLER32"), std::string("rdd_1_2"),
        "temp_shuffle_" + uuid + "x", "my_file." + uuid, "." + uuid, std::string("temp_shuffle_"),
        std::string("my_file.tmp"), std::string(".tmp")}) {
    INFO(name);
    CHECK_FALSE(is_spark_temporary(name));
  }
}

TEST_CASE("directories below the mount are translated, all others refused by name") {
  const LocalDirs dirs({"/mnt/x", "/real/x"}, {"/d0/local", "/d1/local"}, {"/tmp/spark"});
  const auto first = dirs.translate("/mnt/x/local/disk0/spark-1/blockmgr-2/");
  REQUIRE(first);
  CHECK(first->registered == "/mnt/x/local/disk0/spark-1/blockmgr-2");
  CHECK(dirs.backing(*first) == "/d0/local/spark-1/blockmgr-2");
  CHECK(dirs.is_disk(first->root));
  CHECK(dirs.backing(*dirs.translate("/real/x/local/disk1/b")) == "/d1/local/b");
  const auto allowed = dirs.translate("/tmp/spark/b");
  REQUIRE(allowed);
  CHECK_FALSE(dirs.is_disk(allowed->root));
  CHECK(dirs.backing(*allowed) == "/tmp/spark/b");
  for (const char* bad :
       {"", "/", "relative/path", "/mnt/x", "/mnt/x/local", "/mnt/x/local/disk0",
        "/mnt/x/local/disk2/b", "/mnt/x/local/disk00/b", "/mnt/x/local/diskette/b",
        "/mnt/x/local/disk0/../../../etc", "/mnt/x/local/disk0/./b", "/mnt/x/local/disk0//b",
        "/mnt/xy/local/disk0/b", "/tmp/spark", "/tmp/sparkling/b", "/etc"}) {
    INFO(bad);
    CHECK_FALSE(dirs.translate(bad));
  }
  CHECK(dirs.translate("/etc/b").error().message.find("--spark-allow-dir") != std::string::npos);
}

}  // namespace shufflefs::merge
