// A client of an External Shuffle Service that costs as little as possible: for scripts/bench
// service.
//
//   service_load --make --directory DIR ...                        writes the map outputs
//   service_load --address IP:PORT --directory DIR ... --seconds S   registers, fetches
//   service_load --address IP:PORT --directory DIR ... --once        each block exactly once
//
// Each connection is a reducer: it takes a partition, fetches it from all maps in requests of about
// --request-bytes (FetchShuffleBlocks, then all ChunkFetchRequests at once, --window requests in
// flight, as Spark does), and goes on with another partition. Every frame's head and every block's
// head are checked, every --verify-th block is checked by its crc32c; the rest is counted by the
// kernel without being copied (MSG_TRUNC). One thread, epoll. Prints a line of JSON.
#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>

#include <CLI/CLI.hpp>
#include <chrono>
#include <cstring>
#include <deque>
#include <memory>

#include "base/crc32c.h"
#include "base/fd.h"
#include "bench/service_files.h"
#include "bench/service_wire.h"
#include "bench/turns.h"

namespace shufflefs::bench {
namespace {

using Clock = std::chrono::steady_clock;
constexpr std::size_t kBufferBytes = std::size_t{256} << 10U;
constexpr int kPatienceMs = 120'000;
constexpr std::size_t kSkipFrom = std::size_t{16} << 10U;  // below, a call costs more than a copy

struct Options {
  FileSet files;
  std::string address = "127.0.0.1:7337";
  std::string app = "app-20261121000000-0001";
  std::string executor = "0";
  uint32_t connections = 1;
  uint32_t request_bytes = 4U << 20U;
  uint32_t window = 2;
  uint32_t verify = 16;
  double seconds = 2;
  bool once = false;
};

struct Totals {
  uint64_t bytes = 0;
  uint64_t blocks = 0;
  uint64_t verified = 0;
  std::vector<double> request_ms;
};

[[noreturn]] void wrong(const std::string& what) {
  fmt::print(stderr, "service_load: {}\n", what);
  std::quick_exit(EXIT_FAILURE);
}

Fd dial(const std::string& address) {
  const std::size_t colon = address.rfind(':');
  sockaddr_in to = {};
  to.sin_family = AF_INET;
  to.sin_port = htons(static_cast<uint16_t>(std::stoi(address.substr(colon + 1))));
  if (::inet_pton(AF_INET, address.substr(0, colon).c_str(), &to.sin_addr) != 1)
    wrong("not an IPv4 address: " + address);
  Fd fd(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  if (!fd || ::connect(fd.get(), reinterpret_cast<const sockaddr*>(&to), sizeof(to)) != 0)
    fail("connect to " + address);
  const int on = 1;
  ::setsockopt(fd.get(), IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
  return fd;
}

struct Request {
  uint64_t id = 0;
  uint64_t stream = 0;
  uint32_t partition = 0;
  uint32_t first_map = 0;
  std::vector<bool> missing;  // by chunk
  uint32_t left = 0;
  Clock::time_point begin;
};

// Reads what comes, whatever pieces it comes in.
class Connection {
 public:
  Connection(const Options& options, Totals& totals, uint32_t number)
      : options_(options), totals_(totals), fd_(dial(options.address)), partition_(number) {
    partition_ %= options.files.partitions;
  }

  [[nodiscard]] int fd() const { return fd_.get(); }
  [[nodiscard]] bool idle() const { return requests_.empty(); }

  // Sends new requests as long as there is room and `more` allows it.
  void top_up(bool more) {
    while (more && requests_.size() < options_.window && next_request()) {
    }
    flush();
  }

  // Everything that is there; false if nothing was.
  bool receive(std::span<std::byte> buffer) {
    if (body_left_ >= kSkipFrom && head_.empty() && skipping_) return skip();
    const ssize_t count = ::recv(fd_.get(), buffer.data(), buffer.size(), MSG_DONTWAIT);
    if (count < 0 && (errno == EAGAIN || errno == EINTR)) return false;
    if (count <= 0) wrong("the service closed a connection");
    take(buffer.first(static_cast<std::size_t>(count)));
    return true;
  }

 private:
  bool next_request() {
    const uint32_t at_once =
        std::clamp(options_.request_bytes / options_.files.block_bytes, 1U, options_.files.maps);
    if (next_map_ >= options_.files.maps) {
      next_map_ = 0;
      partition_ += options_.connections;
      if (partition_ >= options_.files.partitions && options_.once) return false;
      partition_ %= options_.files.partitions;
    }
    if (options_.once && partition_ >= options_.files.partitions) return false;
    Request request;
    request.id = ++last_id_;
    request.partition = partition_;
    request.first_map = next_map_;
    request.left = std::min(at_once, options_.files.maps - next_map_);
    request.missing.assign(request.left, true);
    request.begin = Clock::now();
    next_map_ += request.left;
    put_fetch(out_, request.id, options_.app, options_.executor, options_.files.shuffle,
              request.first_map, request.left, request.partition);
    requests_.push_back(std::move(request));
    return true;
  }

  // Requests are small next to the socket's buffer; waiting for room here is rare and short.
  void flush() {
    std::size_t at = 0;
    while (at < out_.size()) {
      const ssize_t count = ::send(fd_.get(), &out_[at], out_.size() - at, MSG_NOSIGNAL);
      if (count < 0) fail("send");
      at += static_cast<std::size_t>(count);
    }
    out_.clear();
  }

  bool skip() {
    const ssize_t count =
        ::recv(fd_.get(), nullptr, body_left_, MSG_DONTWAIT | MSG_TRUNC);  // discards uncopied
    if (count < 0 && (errno == EAGAIN || errno == EINTR)) return false;
    if (count <= 0) wrong("the service closed a connection");
    body_left_ -= static_cast<std::size_t>(count);
    if (body_left_ == 0) end_block();
    return true;
  }

  void take(std::span<const std::byte> bytes) {
    while (!bytes.empty()) {
      if (body_left_ > 0 && head_.empty()) {
        const auto part = bytes.first(std::min(body_left_, bytes.size()));
        if (!skipping_) crc_ = crc32c(crc_, part);
        body_left_ -= part.size();
        bytes = bytes.subspan(part.size());
        if (body_left_ == 0) end_block();
        continue;
      }
      const auto part = bytes.first(std::min(wanted_ - head_.size(), bytes.size()));
      head_.insert(head_.end(), part.begin(), part.end());
      bytes = bytes.subspan(part.size());
      if (head_.size() == wanted_) parse_head();
    }
  }

  // First the frame's head; then, in the same buffer, a handle's body or a block's head.
  void parse_head() {
    const auto type = static_cast<FrameType>(head_[8]);
    if (wanted_ == kHeadBytes) {
      frame_bytes_ = load_be<uint64_t>(head_.data());
      if (type == FrameType::kRpcResponse && frame_bytes_ == kHeadBytes + kHandleBytes) {
        wanted_ += kHandleBytes;
      } else if (type == FrameType::kChunkFetchSuccess &&
                 frame_bytes_ == kHeadBytes + options_.files.block_bytes) {
        wanted_ += sizeof(BlockHead);
      } else {
        wrong(fmt::format("a frame of type {} and {} bytes", static_cast<int>(type), frame_bytes_));
      }
      return;
    }
    if (type == FrameType::kRpcResponse) {
      take_handle();
    } else {
      begin_block();
    }
    head_.clear();
    wanted_ = kHeadBytes;
  }

  void take_handle() {
    const auto id = load_be<uint64_t>(&head_[9]);
    const auto found = std::ranges::find(requests_, id, &Request::id);
    if (found == requests_.end()) wrong("an answer to no request");
    found->stream = load_be<uint64_t>(&head_[kHeadBytes + 1]);
    if (load_be<uint32_t>(&head_[kHeadBytes + 9]) != found->left) wrong("another number of chunks");
    for (uint32_t chunk = 0; chunk < found->left; ++chunk)
      put_chunk_request(out_, found->stream, chunk);
    flush();
  }

  void begin_block() {
    const auto stream = load_be<uint64_t>(&head_[9]);
    const auto chunk = load_be<uint32_t>(&head_[17]);
    current_ = std::ranges::find(requests_, stream, &Request::stream);
    if (current_ == requests_.end() || chunk >= current_->missing.size() ||
        !current_->missing[chunk]) {
      wrong(fmt::format("chunk {} of stream {} was not asked for", chunk, stream));
    }
    current_->missing[chunk] = false;
    BlockHead head;
    std::memcpy(&head, &head_[kHeadBytes], sizeof(head));
    if (head.magic != kMagic || head.map != current_->first_map + chunk ||
        head.partition != current_->partition) {
      wrong(fmt::format("map {} partition {} instead of {} {}", head.map, head.partition,
                        current_->first_map + chunk, current_->partition));
    }
    expected_crc_ = head.crc;
    skipping_ = totals_.blocks % options_.verify != 0;
    crc_ = crc32c(std::span(head_).subspan(kHeadBytes + kCheckedFrom));
    body_left_ = options_.files.block_bytes - sizeof(head);
  }

  void end_block() {
    if (!skipping_ && crc_ != expected_crc_) wrong("a block's crc32c is wrong");
    ++totals_.blocks;
    totals_.verified += skipping_ ? 0 : 1;
    totals_.bytes += options_.files.block_bytes;
    if (--current_->left > 0) return;
    const std::chrono::duration<double, std::milli> took = Clock::now() - current_->begin;
    totals_.request_ms.push_back(took.count());
    requests_.erase(current_);
  }

  const Options& options_;
  Totals& totals_;
  Fd fd_;
  std::vector<std::byte> out_;
  // What to ask next.
  uint32_t partition_ = 0;
  uint32_t next_map_ = 0;
  uint64_t last_id_ = 0;
  std::deque<Request> requests_;
  // What is being read.
  std::vector<std::byte> head_;
  std::size_t wanted_ = kHeadBytes;
  uint64_t frame_bytes_ = 0;
  std::size_t body_left_ = 0;
  bool skipping_ = false;
  uint32_t crc_ = 0;
  uint32_t expected_crc_ = 0;
  std::deque<Request>::iterator current_;
};

void register_executor(const Options& options) {
  const Fd fd = dial(options.address);
  std::vector<std::byte> out;
  put_register(out, options.app, options.executor, options.files.directory.string(),
               kSubDirectories);
  if (::send(fd.get(), out.data(), out.size(), MSG_NOSIGNAL) != static_cast<ssize_t>(out.size()))
    fail("send");
  std::vector<std::byte> answer(4096);
  std::size_t size = 0;
  while (size < kHeadBytes) {
    const ssize_t count = ::recv(fd.get(), &answer[size], answer.size() - size, 0);
    if (count <= 0) fail("the answer to RegisterExecutor");
    size += static_cast<std::size_t>(count);
  }
  if (answer[8] != static_cast<std::byte>(FrameType::kRpcResponse)) {
    wrong("RegisterExecutor was refused: " +
          std::string(reinterpret_cast<const char*>(&answer[kHeadBytes]), size - kHeadBytes));
  }
}

// Until the time is over, or each block has come, and everything that was asked for is here.
void fetch(const Options& options, Totals& totals) {
  const Fd poll(::epoll_create1(EPOLL_CLOEXEC));
  std::vector<std::unique_ptr<Connection>> connections;
  for (uint32_t i = 0; i < options.connections; ++i) {
    connections.push_back(std::make_unique<Connection>(options, totals, i));
    epoll_event event = {.events = EPOLLIN, .data = {.ptr = connections.back().get()}};
    if (::epoll_ctl(poll.get(), EPOLL_CTL_ADD, connections.back()->fd(), &event) != 0)
      fail("epoll_ctl");
  }
  const auto end = Clock::now() + std::chrono::duration<double>(options.seconds);
  std::vector<std::byte> buffer(kBufferBytes);
  std::vector<epoll_event> events(64);
  for (const auto& connection : connections) connection->top_up(true);
  const auto busy = [&] {
    return !std::ranges::all_of(connections, [](const auto& one) { return one->idle(); });
  };
  while (busy()) {
    const int count =
        ::epoll_wait(poll.get(), events.data(), static_cast<int>(events.size()), kPatienceMs);
    if (count == 0) wrong("nothing came for two minutes");
    const bool more = options.once || Clock::now() < end;
    for (int i = 0; i < count; ++i) {
      auto* connection = static_cast<Connection*>(events.at(static_cast<std::size_t>(i)).data.ptr);
      // A few reads, then the others' turn.
      for (int turn = 0; turn < 4 && connection->receive(buffer); ++turn) {
      }
      connection->top_up(more);
    }
  }
}

double own_cpu_seconds() {
  rusage usage = {};
  ::getrusage(RUSAGE_SELF, &usage);
  return static_cast<double>(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) +
         static_cast<double>(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e6;
}

double quantile(std::vector<double>& values, double share) {
  if (values.empty()) return 0;
  const auto at =
      values.begin() + static_cast<std::ptrdiff_t>(share * static_cast<double>(values.size() - 1));
  std::ranges::nth_element(values, at);
  return *at;
}

void run(const Options& options) {
  register_executor(options);
  Totals totals;
  const auto begin = Clock::now();
  fetch(options, totals);
  const std::chrono::duration<double> took = Clock::now() - begin;
  fmt::print(
      R"({{"bytes": {}, "blocks": {}, "verified": {}, "seconds": {:.4f}, "load_cpu_seconds": {:.3f}, )"
      R"("request_ms": {{"p50": {:.2f}, "p99": {:.2f}}}}})"
      "\n",
      totals.bytes, totals.blocks, totals.verified, took.count(), own_cpu_seconds(),
      quantile(totals.request_ms, 0.5), quantile(totals.request_ms, 0.99));
}

}  // namespace
}  // namespace shufflefs::bench

int main(int argc, char** argv) {
  shufflefs::bench::Options options;
  bool make = false;
  CLI::App app("A client of an External Shuffle Service, for measuring");
  app.add_flag("--make", make, "write the map outputs and end");
  app.add_option("--directory", options.files.directory)->required();
  app.add_option("--shuffle", options.files.shuffle);
  app.add_option("--maps", options.files.maps)->check(CLI::Range(1, 100000));
  app.add_option("--partitions", options.files.partitions)->check(CLI::Range(1, 100000));
  app.add_option("--block-bytes", options.files.block_bytes)->check(CLI::Range(64, 1 << 30));
  app.add_option("--address", options.address);
  app.add_option("--connections", options.connections)->check(CLI::Range(1, 10000));
  app.add_option("--request-bytes", options.request_bytes)->check(CLI::Range(1, 1 << 30));
  app.add_option("--window", options.window)->check(CLI::Range(1, 64));
  app.add_option("--verify", options.verify)->check(CLI::Range(1, 1000000));
  app.add_option("--seconds", options.seconds)->check(CLI::Range(0.01, 3600.0));
  app.add_flag("--once", options.once);
  CLI11_PARSE(app, argc, argv);
  if (make) {
    shufflefs::bench::make_files(options.files);
  } else {
    shufflefs::bench::run(options);
  }
  return EXIT_SUCCESS;
}
