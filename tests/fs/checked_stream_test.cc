// Reads of large blocks: no byte is returned that was not compared, however small the reads are.
#include <boost/asio/detached.hpp>
#include <catch2/catch_test_macros.hpp>
#include <catch2/generators/catch_generators.hpp>
#include <string>

#include "fs/checked_reads.h"
#include "merge/partition_stream.h"
#include "support/test_cluster.h"

namespace shufflefs::fs {
namespace {

using merge::kUnitBytes;
using testing::node_name;
using testing::random_blocks;
using testing::TestCluster;

const merge::ShuffleKey kShuffle = *merge::parse_shuffle_key("app/0");

// A small block, a large one and another small one, merged.
struct Partition {
  Partition() {
    cluster.start();
    for (uint64_t map = 0; map < 3; ++map) {
      blocks.push_back(random_blocks(map, {map == 1 ? 5 * kUnitBytes + 77 : 3000})[0]);
      cluster.write_map(0, kShuffle, map, {blocks.back()});
    }
    cluster.settle(kShuffle, 3);
    plan = cluster.plan(0, kShuffle, 0);
    REQUIRE(plan.owner);
    reader = *plan.owner == node_name(0) ? 1 : 0;
    for (const merge::PlannedBlock& block : plan.blocks)
      content += blocks[merge::number(block.map)];
  }

  // All of it in reads of that size; the code of the first error.
  Result<std::string> read(CheckedStream& stream, uint32_t size) {
    std::string got;
    while (got.size() < plan.bytes) {
      auto bytes = cluster.run(stream.read(got.size(), size));
      if (!bytes) return bytes.error();
      got.append(reinterpret_cast<const char*>(bytes->data()), bytes->size());
      // What has been given is right, whatever comes.
      if (!content.starts_with(got)) return make_error(Code::kInternal, "wrong bytes were given");
    }
    return got;
  }

  TestCluster cluster{2};
  std::vector<std::string> blocks;
  merge::PartitionPlan plan;
  std::size_t reader = 0;
  std::string content;
};

}  // namespace

TEST_CASE("large blocks are read right in any size") {
  Partition partition;
  CheckedStream stream(partition.cluster.runtime,
                       partition.cluster.engine(partition.reader).open_stream(partition.plan));
  const uint32_t size = GENERATE(100'000U, 1U << 20U, 3'000'000U);
  const auto got = partition.read(stream, size);
  REQUIRE(got);
  CHECK((*got == partition.content));
  partition.cluster.run(stream.close());
}

TEST_CASE("of a damaged large block not even the first pieces are given") {
  Partition partition;
  partition.cluster.faults.damage_reads.insert(*partition.plan.owner);
  CheckedStream stream(partition.cluster.runtime,
                       partition.cluster.engine(partition.reader).open_stream(partition.plan));
  const auto got = partition.read(stream, GENERATE(100'000U, 1U << 20U));
  REQUIRE(got);  // from the origin
  CHECK((*got == partition.content));
  partition.cluster.run(stream.close());
}

}  // namespace shufflefs::fs
