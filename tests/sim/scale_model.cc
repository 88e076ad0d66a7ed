// The scale questions in numbers: the real placement and the real planner for clusters of up to
// 10,000 nodes and a shuffle of 100,000 maps x 10,000 partitions, the network as counters. Prints
// CSV, one line for each size of cluster; docs/scale.md explains it, scripts/scale-picture draws
// it.
//
//   scale_model [MAPS PARTITIONS BYTES_PER_MAP]
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <ctime>
#include <numeric>

#include "base/parse.h"
#include "merge/announcer.h"
#include "merge/push_chunk.h"
#include "net/message_fields.h"
#include "sim/schedule.h"

namespace shufflefs::sim {
namespace {

struct Shape {
  uint64_t maps = 100'000;
  uint32_t partitions = 10'000;
  uint64_t bytes_per_map = 128U << 20U;
};

// Of this process: the machine may be busy with something else.
double cpu_seconds() { return static_cast<double>(std::clock()) / CLOCKS_PER_SEC; }

std::vector<merge::NodeName> make_names(uint32_t nodes) {
  std::vector<merge::NodeName> names;
  for (uint32_t i = 0; i < nodes; ++i)
    names.push_back(*merge::NodeName::parse(fmt::format("worker-{}", i)));
  std::ranges::sort(names);
  return names;
}

// The busiest owner's load in units of the mean. `weights` are by partition.
double imbalance(const merge::Placement& placement, const std::vector<merge::NodeName>& names,
                 const std::vector<double>& weights) {
  std::map<merge::NodeName, double> load;
  for (std::size_t p = 0; p < weights.size(); ++p)
    load[placement.owner(static_cast<merge::PartitionId>(p))] += weights[p];
  double most = 0;
  for (const auto& [name, sum] : load) most = std::max(most, sum);
  // Where there are fewer partitions than nodes, the others have nothing to own.
  const auto owners = static_cast<double>(std::min(names.size(), weights.size()));
  return most / (std::accumulate(weights.begin(), weights.end(), 0.0) / owners);
}

// Sizes that differ as keys do: partition sizes fall off slowly from a few large ones.
std::vector<double> skewed(uint32_t partitions) {
  Random random(7);
  std::vector<double> weights(partitions);
  for (double& weight : weights)
    weight = std::pow(1.0 - static_cast<double>(random.below(1'000'000)) / 1e6, -0.3);
  return weights;
}

void print_size(uint32_t nodes, const Shape& shape) {
  const std::vector<merge::NodeName> names = make_names(nodes);
  const merge::ShuffleKey shuffle = *merge::parse_shuffle_key("app-20261121120000-0001/0");
  const double begin = cpu_seconds();
  const merge::Placement placement(shuffle, names, shape.partitions);
  const double took = cpu_seconds() - begin;

  const merge::BlockSizes sizes(
      std::vector<uint64_t>(shape.partitions, shape.bytes_per_map / shape.partitions));
  const auto plan = merge::plan_chunks(sizes, placement, {2U << 20U, 64U << 20U}, merge::MapId{1});
  const double chunks = static_cast<double>(plan.chunks.size());
  const double maps = static_cast<double>(shape.maps);
  const double maps_per_node = maps / nodes;
  // Announcements as they are: each map output to every member that is a candidate of anything.
  uint64_t told = 0;
  uint64_t told_bytes = 0;
  const uint32_t sampled = std::min(nodes, 200U);
  const double telling = cpu_seconds();
  for (uint32_t i = 0; i < sampled; ++i) {
    const merge::NodeName& node = names[std::size_t{i} * nodes / sampled];
    merge::AnnounceRequest request;
    request.origin = names[0];
    request.committed.push_back({shuffle,
                                 merge::MapId{1},
                                 1,
                                 0,
                                 shape.partitions,
                                 merge::candidate_bits(placement, node, sizes),
                                 {}});
    ++told;
    told_bytes += net::kPrefixBytes + net::encode(request).size();
  }
  const double making = cpu_seconds() - telling;
  const double bytes_each = static_cast<double>(told_bytes) / static_cast<double>(told);
  fmt::print("{},{:.3f},{:.3f},{:.3f},{:.0f},{:.0f},{:.3e},{:.3e},{:.3e},{:.3e},{:.0f},{:.0f}\n",
             nodes, took, imbalance(placement, names, std::vector<double>(shape.partitions, 1.0)),
             imbalance(placement, names, skewed(shape.partitions)), chunks,
             static_cast<double>(shape.bytes_per_map) / chunks, maps * chunks,
             // One message for each owner and 2 MiB, if a node's map outputs travel together.
             nodes * std::max(chunks * maps_per_node * static_cast<double>(shape.bytes_per_map) /
                                  chunks / (2U << 20U),
                              static_cast<double>(std::min(nodes, placement.buckets()))),
             maps * (nodes - 1), maps * (nodes - 1) * bytes_each, bytes_each,
             making * 1e6 / sampled);
}

}  // namespace
}  // namespace shufflefs::sim

int main(int argc, char** argv) {
  using namespace shufflefs;
  sim::Shape shape;
  const auto number_at = [&](int i, uint64_t otherwise) {
    return argc > i ? parse_decimal(argv[i]).value_or(otherwise) : otherwise;
  };
  shape.maps = number_at(1, shape.maps);
  shape.partitions = static_cast<uint32_t>(number_at(2, shape.partitions));
  shape.bytes_per_map = number_at(3, shape.bytes_per_map);
  fmt::print(
      "nodes,placement_cpu_s,imbalance_even,imbalance_skewed,chunks_per_map,chunk_bytes,pushes,"
      "pushes_combined,announcements,announcement_bytes,bytes_per_announcement,"
      "cpu_us_to_make_one\n");
  for (const uint32_t nodes : {3U, 10U, 30U, 100U, 300U, 1000U, 3000U, 10'000U})
    sim::print_size(nodes, shape);
  return 0;
}
