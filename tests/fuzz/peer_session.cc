// A stranger's whole connection to the peer port: greetings, requests and lies about lengths in any
// order.
//
// The first byte says whether the node has a secret, which the script cannot know. Then a step
// each: what, and what it needs. Held to: the connection ends; every answer is a whole frame of an
// answer's type; no memory stays leased; and without the secret the node is never asked anything.
#include <sys/stat.h>

#include "net/message_fields.h"
#include "net/peer_auth.h"
#include "net/peer_server.h"
#include "support/temp_dir.h"
#include "tests/fuzz/session.h"
#include "tests/fuzz/session_targets.h"
#include "tests/net/fake_node.h"

namespace shufflefs::fuzz {
namespace {

using net::Bytes;
using net::MessageType;

struct Peer {
  explicit Peer(Loop& loop, const net::PeerAuth* auth)
      : server({loop.runtime,
                budget,
                metrics,
                self(),
                {},
                auth,
                nullptr,
                std::make_shared<net::MemberTable>(
                    loop.runtime,
                    net::MemberTable::Options{.self = self(), .address = {"127.0.0.1", 7338}})},
               node),
        loop_(loop),
        budget(loop.runtime, kBudget) {
    require(static_cast<bool>(server.listen({"127.0.0.1", 0})));
    server.start();
  }
  ~Peer() { loop_.run(server.stop()); }
  Peer(const Peer&) = delete;
  Peer& operator=(const Peer&) = delete;

  static net::NodeIdentity self() { return {net::testing::node_name("fuzzed"), 7}; }

  static constexpr uint64_t kBudget = 1 << 20;
  Metrics metrics;
  net::testing::FakeNode node;
  net::PeerServer server;

 private:
  Loop& loop_;

 public:
  ByteBudget budget;
};

struct World {
  World() {
    const std::string file = directory / "secret";
    const Fd fd(::open(file.c_str(), O_WRONLY | O_CREAT | O_CLOEXEC, 0600));
    constexpr std::string_view kSecret = "a secret that no script knows";
    require(::write(fd.get(), kSecret.data(), kSecret.size()) == ssize_t{kSecret.size()});
    auth = std::make_unique<net::PeerAuth>(loop.runtime, net::PeerAuthFiles{file, {}});
    require(static_cast<bool>(auth->load()));
    guarded = std::make_unique<Peer>(loop, auth.get());
  }

  testing::TempDir directory;
  Loop loop;
  std::unique_ptr<net::PeerAuth> auth;
  Peer open{loop, nullptr};
  std::unique_ptr<Peer> guarded;
};

Bytes with_payload(uint16_t type, Input header, Input payload) {
  Bytes frame = net::encode_frame_head(type, header, payload);
  frame.insert(frame.end(), payload.begin(), payload.end());
  return frame;
}

// A request that is right in itself, with numbers from the script.
Bytes request(Script& script) {
  using namespace net::testing;  // NOLINT(google-build-using-namespace): samples
  const auto shuffle = shuffle_key("app-1", script.byte());
  const merge::PartitionId partition{script.byte()};
  const merge::MapId map{script.byte()};
  const auto type = net::kRequestTypes.at(script.byte() % net::kRequestTypes.size()).type;
  const auto head = [type](const Bytes& header, Input payload = {}) {
    return with_payload(net::request_number(type), header, payload);
  };
  switch (type) {
    case MessageType::kPush: {
      const merge::PushRequest push = sample_push();
      return head(net::encode(push), {push.payload.data(), push.payload.size()});
    }
    case MessageType::kAnnounce: return head(net::encode(sample_announce()));
    case MessageType::kPartitionInfo:
    case MessageType::kMergedInfo:
      return head(net::encode(net::PartitionRequest{shuffle, partition}));
    case MessageType::kShuffleInfo: return head(net::encode(net::ShuffleRequest{shuffle}));
    case MessageType::kReadMerged:
      return head(net::encode(
          net::ReadMergedRequest{shuffle, partition, 0, static_cast<uint32_t>(script.number(3))}));
    case MessageType::kReadBlock:
      return head(net::encode(net::ReadBlockRequest{shuffle, map, 1, partition, 0,
                                                    static_cast<uint32_t>(script.number(3))}));
    case MessageType::kDrop:
      return head(net::encode(net::DropRequest{shuffle.app, shuffle.shuffle, script.number(8)}));
    case MessageType::kReport: return head(net::encode(net::ReportRequest{"health"}));
    case MessageType::kPing: return head(net::encode(net::MemberDigest{script.number(8), 1}));
    case MessageType::kMembers: {
      net::MemberExchange exchange;
      exchange.digests.at(script.byte()) = script.number(8);
      for (std::size_t i = script.byte() % 4; i > 0; --i) {
        exchange.records.push_back({node_name(script.byte() % 4 == 0 ? "fuzzed" : "other"),
                                    {"127.0.0.1", static_cast<uint16_t>(script.number(2))},
                                    script.number(1),
                                    script.number(2),
                                    script.byte() % 2 == 0});
      }
      return head(net::encode(exchange));
    }
    default: return head(net::encode(net::Nothing{}));
  }
}

Bytes hello(Script& script) {
  net::Hello made;
  made.features = script.number(1);
  made.sender = {net::testing::node_name("asker"), script.number(2)};
  if (script.byte() % 4 == 0) made.expected = "fuzzed";
  made.address.port = static_cast<uint16_t>(script.byte() % 2);
  return with_payload(net::request_number(MessageType::kHello), net::encode(made), {});
}

// A frame whose prefix claims what is not there.
Bytes lie(Script& script) {
  const auto type = static_cast<uint16_t>(script.number(2));
  Bytes frame = net::encode_frame_head(type, script.piece(1), {});
  const std::size_t at = script.byte() % net::kPrefixBytes;
  const Input instead = script.piece(1);
  std::copy_n(instead.begin(), std::min(instead.size(), net::kPrefixBytes - at),
              frame.begin() + static_cast<std::ptrdiff_t>(at));
  return frame;
}

Bytes step(Script& script) {
  switch (script.byte() % 6) {
    case 0: return hello(script);
    case 1:
    case 2: return request(script);
    case 3: {
      const auto type = static_cast<uint16_t>(script.number(2));
      const Input header = script.piece(2);
      return with_payload(type, header, script.piece(1));
    }
    case 4: return lie(script);
    default: {
      const Input raw = script.piece(2);
      return {raw.begin(), raw.end()};
    }
  }
}

// The answers are whole frames, of no more than were asked for and a last word.
void check_answers(Input answers, std::size_t steps) {
  std::size_t frames = 0;
  while (!answers.empty()) {
    require(answers.size() >= net::kPrefixBytes);
    const auto prefix = net::decode_prefix(answers.first<net::kPrefixBytes>());
    require(prefix && prefix->type % 2 == 1);
    answers = answers.subspan(net::kPrefixBytes);
    require(prefix->header_bytes <= answers.size() &&
            prefix->payload_bytes <= answers.size() - prefix->header_bytes);
    require(static_cast<bool>(net::check_header(*prefix, answers.first(prefix->header_bytes))));
    answers = answers.subspan(prefix->header_bytes + prefix->payload_bytes);
    ++frames;
  }
  // A piece of raw bytes may hold several requests, each of at least a prefix.
  require(frames <= steps + 1);
}

}  // namespace

void peer_session(Input input) {
  static World world;
  Script script(input);
  const bool guarded = script.byte() % 2 == 1;
  Peer& peer = guarded ? *world.guarded : world.open;
  std::size_t frames_at_most = 0;
  {
    Stranger stranger(world.loop, connect_to({"127.0.0.1", peer.server.port()}));
    while (!script.done()) {
      const Bytes sent = step(script);
      frames_at_most += 1 + sent.size() / net::kPrefixBytes;
      stranger.send(sent);
    }
    check_answers(stranger.end(), frames_at_most);
  }
  world.loop.until(
      [&peer] { return peer.server.connections() == 0 && peer.server.handshakes() == 0; });
  require(peer.budget.used_bytes() == 0);
  require(!guarded || (peer.node.calls.empty() && peer.node.announced.empty()));
  peer.node.calls.clear();
  peer.node.announced.clear();
  peer.node.pushed.reset();
}

}  // namespace shufflefs::fuzz
