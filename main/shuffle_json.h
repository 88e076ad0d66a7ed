// Shuffles, peers and events as the API's JSON (docs/openapi.yaml). Pure functions.
#pragma once

#include <boost/json/value.hpp>

#include "base/recent_events.h"
#include "merge/catalog.h"
#include "net/ess/server.h"

namespace shufflefs {

// Summed over all nodes.
[[nodiscard]] boost::json::value shuffle_json(const merge::ShuffleTotals& totals);
// Of one node: the same without "unreachable", and given_up without "node".
[[nodiscard]] boost::json::value shuffle_json(const merge::ShuffleKey& shuffle,
                                              const merge::ShuffleInfo& info);
// How many there are, and whose lists have been others for more than a few seconds.
[[nodiscard]] boost::json::value members_json(const merge::Cluster& cluster);
[[nodiscard]] boost::json::value peer_json(const merge::PeerHealth& peer);
// Texts are cut at `most_bytes`.
[[nodiscard]] boost::json::value event_json(const RecentEvent& event, std::size_t most_bytes);
[[nodiscard]] boost::json::value spark_json(const net::ess::EssStatus& status);

}  // namespace shufflefs
