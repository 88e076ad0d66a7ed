#include "main/node.h"

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/use_future.hpp>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <random>
#include <thread>

#include "base/asio_runtime.h"
#include "base/log.h"
#include "fs/operations.h"
#include "fs/session.h"
#include "fs/virtual_replies.h"
#include "main/api.h"
#include "main/api_shuffles.h"
#include "main/local_access.h"
#include "main/mounts.h"
#include "main/process.h"
#include "merge/engine.h"
#include "net/admin_http.h"
#include "net/ess/server.h"
#include "net/membership.h"
#include "net/peer_auth.h"
#include "net/peer_server.h"
#include "net/relay/server.h"

namespace shufflefs {
namespace {

std::string text_of(const std::string& path) {
  std::ifstream file(path);
  return {std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
}

// Whether the machine has run on since this node ran last: then the disks have every byte that was
// written, in order, whatever became of the process. A file `boot` in each data directory holds the
// kernel's boot id. Blocks; leaves the mark of this boot.
bool ran_on_since(const std::vector<std::string>& data_dirs) {
  const std::string boot = text_of("/proc/sys/kernel/random/boot_id");
  bool same = !boot.empty();
  for (const std::string& directory : data_dirs) {
    const std::string path = directory + "/boot";
    if (text_of(path) == boot) continue;
    same = false;
    // If this fails the next start verifies once more than it needs to.
    std::ofstream(path, std::ios::trunc) << boot;
  }
  return same;
}

merge::StreamOptions stream_options(const Settings& settings) {
  merge::StreamOptions options;
  options.lost_patience = settings.read.lost_patience;
  options.ahead_bytes = settings.read.ahead_bytes;
  return options;
}

merge::EngineOptions engine_options(const Settings& settings, const LocalAccess& local) {
  merge::EngineOptions options;
  options.self = settings.node;
  // Canonical: what the kernel says of an open file is compared with it as text. They exist: serve
  // has made them.
  for (const std::string& data : settings.data)
    options.data_dirs.push_back(std::filesystem::canonical(data).string());
  options.push.enabled = settings.push.enabled;
  options.push.chunk_bytes = settings.push.chunk_bytes;
  options.push.max_block_bytes = settings.push.max_block_bytes;
  options.push.replicate = settings.push.replicate == Replicate::kAll;
  options.push.max_retries = settings.push.max_retries;
  options.push.jitter = settings.push.jitter;
  options.push.per_owner = settings.push.per_owner;
  options.push.readers = std::max(1U, settings.disk_threads / 2);
  options.split_bytes = settings.merge_split_bytes;
  options.disk.reserve_bytes = settings.disk_reserve_bytes;
  options.app_quota = settings.app_quota_bytes;
  options.verify_merged = !ran_on_since(options.data_dirs);
  options.stream = stream_options(settings);
  options.trash_grace = settings.trash_grace;
  // Executors name their directories as they see them: by the mount's configured name, or by the
  // one without links.
  options.mounts = {settings.mount};
  const std::string without_links = without_links_above(settings.mount);
  if (without_links != settings.mount) options.mounts.push_back(without_links);
  options.allowed_dirs = settings.spark.allow_dirs;
  options.app_ttl = settings.spark.app_ttl;
  // Its paths begin as the executors' do; the ones that are removed have no link above the mount.
  options.forget_names = [mount = settings.mount, without_links](std::vector<std::string> paths) {
    for (std::string& path : paths) {
      if (path.starts_with(mount + "/")) path.replace(0, mount.size(), without_links);
    }
    forget_names_on_mount(paths);
  };
  if (local.mode() == LocalMode::kBind)
    options.has_unread_events = [&local] { return local.has_unread_events(); };
  return options;
}

Result<std::unique_ptr<net::ess::EssServer>> make_spark_server(const Settings& settings,
                                                               AsioRuntime& runtime,
                                                               merge::Engine& engine,
                                                               Metrics& metrics) {
  net::ess::EssOptions options;
  options.listen = settings.spark.listen;
  if (!settings.spark.secret_file.empty()) {
    TRY_ASSIGN(options.secret, net::ess::read_secret_file(settings.spark.secret_file));
  }
  options.limits.connections = settings.spark.connections;
  options.limits.request_bytes = settings.spark.memory_bytes;
  options.limits.threads_per_disk = settings.spark.threads;
  auto server = std::make_unique<net::ess::EssServer>(runtime, engine.spark_apps(), metrics,
                                                      std::move(options));
  TRY(server->listen());
  return server;
}

net::relay::RelayOptions relay_options(const Settings& settings) {
  net::relay::RelayOptions options;
  options.service = settings.spark.listen;
  options.limits.connections = settings.spark.connections;
  options.limits.request_bytes = settings.spark.memory_bytes;
  options.ahead_bytes = settings.read.ahead_bytes;
  return options;
}

net::NetOptions net_options(const Settings& settings) {
  net::NetOptions options;
  options.request_timeout = settings.read.peer_timeout;
  return options;
}

net::PeerAuthFiles peer_auth_files(const Settings& settings) {
  const PeerSecuritySettings& security = settings.peer_security;
  return {security.secret_file, {security.tls_cert, security.tls_key, security.tls_ca}};
}

uint64_t random_incarnation() {
  std::random_device random;
  return (uint64_t{random()} << 32U) | random();
}

net::MembershipOptions membership_options(const Settings& settings, FileIo& io) {
  net::MembershipOptions options;
  options.address = settings.peer_listen;
  options.this_machine_only =
      !settings.peer_security.authenticates() && !settings.peer_security.insecure;
  options.lost_patience = settings.member_ttl;
  options.io = &io;
  options.file = settings.data.front() + "/members";
  return options;
}

// The directory with the Spark client's jars: as configured, or where a build or an installation
// has it. Nothing: none is shown.
std::string client_directory(const Settings& settings) {
  if (!settings.client_dir.empty()) return settings.client_dir;
  const auto program = own_program();
  if (!program) return {};
  const std::filesystem::path place = std::filesystem::path(*program).parent_path();
  std::error_code ignored;
  for (const auto& candidate : {place / "client", place.parent_path() / "share/shufflefs/client"}) {
    if (std::filesystem::is_directory(candidate, ignored)) return candidate.string();
  }
  return {};
}

fs::SavedState saved_state(MountState& mount) {
  fs::SavedState saved;
  saved.tables = std::move(mount.tables);
  saved.generation = mount.generation;
  for (auto& [id, fd] : mount.kept) saved.kept.push_back({id.first, id.second, std::move(fd)});
  mount.kept.clear();
  return saved;
}

}  // namespace

// In the order of construction; destroyed in the reverse.
struct Node::Parts {
  Parts(const Settings& settings_in, net::MemberSpec spec, MountState mount, fs::KeptFiles& kept)
      : settings(settings_in),
        mount_state(std::move(mount)),
        saved(saved_state(mount_state)),
        runtime(settings.disk_threads),
        memory(runtime, settings.memory_bytes),
        io(make_posix_file_io()),
        local(runtime, metrics, settings, fs::offers_passthrough(mount_state.init)),
        engine(runtime, *io, memory, metrics, engine_options(settings, local)),
        auth(runtime, peer_auth_files(settings)),
        context{runtime,
                memory.of(MemoryPurpose::kReceive),
                metrics,
                {settings.node, random_incarnation()},
                net_options(settings),
                &auth,
                &memory.of(MemoryPurpose::kAnswer)},
        membership(context, std::move(spec), engine.local_node(),
                   membership_options(settings, *io)),
        server(membership.context(), *engine.local_node()),
        http(runtime),
        handles(saved.take(fs::SavedPart::kOpenFiles)),
        passthrough(metrics, settings.local_mode != LocalMode::kFuse,
                    saved.take(fs::SavedPart::kBackingIds)),
        native(handles, saved, &kept),
        api({settings, runtime, engine, membership, memory, metrics, *io, saved.generation + 1,
             local}),
        shuffle_api(runtime, engine, membership),
        tree(engine, membership, native, passthrough, api.info_texts(), saved, &kept,
             {client_directory(settings), &client_report}) {
    shuffle_api.on_findings([this] { tree.check_again(); });
    tree.list_wide_by([this](merge::ShuffleKey shuffle, uint32_t count) {
      return shuffle_api.with_bytes(std::move(shuffle), count);
    });
  }

  Parts(const Parts&) = delete;
  Parts& operator=(const Parts&) = delete;
  ~Parts() {
    // start() may have failed half-way: stop() is what ends the threads.
    stop();
  }

  Status start(Listeners listeners);
  void stop();
  void hand_over();
  void stop_parts();
  // Runs the task on the reactor and waits for it.
  void on_reactor(Task<void> task) {
    asio::co_spawn(runtime.context(), std::move(task), asio::use_future).get();
  }
  Task<void> start_network() {
    auth.start();
    engine.start(membership);
    server.on_hello([this](const merge::NodeName& name) { membership.noticed(name); });
    membership.start();
    server.start();
    co_return;
  }
  // After the mount is up: an executor's first block comes through it.
  Task<void> start_spark() const {
    if (spark) spark->start();
    co_return;
  }
  // Last of all: connections are taken from services that can be reached.
  Task<void> start_relay(Status& result) {
    relay.emplace(runtime, membership, engine.catalog(), memory.of(MemoryPurpose::kRead),
                  stream_options(settings), relay_metrics, relay_options(settings));
    result = co_await offload(runtime, [this] { return relay->listen(); });
    if (result) relay->start();
    co_return;
  }
  Task<void> listen_http(Status& result) {
    result = http.listen(settings.http_listen);
    co_return;
  }
  // Before a stop: with everything that it has on other nodes too, it leaves for good.
  Task<void> leave_if_drained() {
    if (engine.drain_status().safe_to_stop) co_await membership.leave();
  }
  Task<void> stop_network() {
    // First whoever asks peers, then the peers, then who answers them.
    if (relay) co_await relay->stop();
    co_await local.close();
    co_await tree.stop();
    co_await http.stop();
    co_await api.stop();
    if (spark) co_await spark->stop();
    co_await engine.stop();
    co_await membership.stop();
    co_await server.stop();
    co_await auth.stop();
  }

  const Settings settings;
  MountState mount_state;
  fs::SavedState saved;
  Metrics metrics;
  AsioRuntime runtime;
  MemoryBudget memory;
  std::unique_ptr<FileIo> io;
  LocalAccess local;
  merge::Engine engine;
  net::PeerAuth auth;
  const net::Context context;
  net::Membership membership;
  net::PeerServer server;
  std::unique_ptr<net::ess::EssServer> spark;  // none if it is switched off
  net::relay::RelayMetrics relay_metrics{metrics};
  std::optional<net::relay::RelayServer> relay;  // none if it is switched off
  net::AdminHttp http;
  fs::HandleTable handles;
  fs::Passthrough passthrough;
  fs::NativeFs native;
  Api api;
  ShuffleApi shuffle_api;
  fs::ClientReport client_report{metrics};
  fs::VirtualTree tree;
  fs::VirtualReplies replies{tree};
  std::unique_ptr<fs::SpaceCache> space;
  std::unique_ptr<fs::Operations> operations;
  std::unique_ptr<fs::Session> session;
  std::thread reactor;
};

Status Node::Parts::start(Listeners listeners) {
  fs::raise_file_limit();
  std::vector<std::string> roots;
  for (std::size_t disk = 0; disk < engine.disks(); ++disk)
    roots.push_back(engine.local_root(disk));
  local.prepare(roots);
  TRY(engine.prepare());
  membership.load();
  TRY(tree.prepare());
  TRY(auth.load());
  TRY(server.listen(settings.peer_listen));
  if (!settings.spark.listen.host.empty()) {
    TRY_ASSIGN(spark, make_spark_server(settings, runtime, engine, metrics));
    api.show_spark([this] { return spark->status(); });
  }
  TRY(api.add_routes(http, std::move(listeners.on_log_level)));
  shuffle_api.add_routes(http);
  reactor = std::thread([this] { runtime.run(); });
  on_reactor(start_network());
  tree.restore_open_files(saved);

  space = std::make_unique<fs::SpaceCache>(native);
  operations =
      std::make_unique<fs::Operations>(native, handles, passthrough, *space, replies, metrics);
  fs::Mount mount = fs::Mount::adopt(mount_state.directory, std::move(mount_state.connection),
                                     mount_state.connection_number);
  fs::SessionOptions options;
  options.max_threads = options.max_idle_threads = settings.fuse_threads;
  options.io_uring = settings.fuse_io_uring;
  options.xattrs = settings.xattrs;
  options.init_message = mount_state.init;
  options.resend = mount_state.can_resend && saved.generation > 0;
  options.on_ended = std::move(listeners.on_unable);
  TRY_ASSIGN(session, fs::Session::start(std::move(mount), *operations, std::move(options)));
  local.start(engine.commits());
  on_reactor(start_spark());
  if (settings.spark.relay == SparkRelay::kRedirect) {
    Status relaying;
    on_reactor(start_relay(relaying));
    TRY(relaying);
  }
  // Last: who gets an answer here finds everything else working.
  Status listening;
  on_reactor(listen_http(listening));
  return listening;
}

void Node::Parts::stop() {
  if (session) session->stop();
  stop_parts();
}

void Node::Parts::hand_over() {
  if (session) session->hand_over();
  stop_parts();
}

void Node::Parts::stop_parts() {
  if (reactor.joinable()) {
    local.stop_events();
    on_reactor(stop_network());
    runtime.stop();
    reactor.join();
  }
  session.reset();
  runtime.join_disk_threads();
}

Node::Node(std::unique_ptr<Parts> parts) : parts_(std::move(parts)) {}

Node::~Node() = default;

Result<std::unique_ptr<Node>> Node::start(const Settings& settings, MountState state,
                                          fs::KeptFiles& kept, Listeners listeners) {
  TRY_ASSIGN(net::MemberSpec spec, net::parse_members(settings.members));
  auto parts = std::make_unique<Parts>(settings, std::move(spec), std::move(state), kept);
  TRY(parts->start(std::move(listeners)));
  return std::unique_ptr<Node>(new Node(std::move(parts)));
}

void Node::stop() {
  if (parts_->reactor.joinable()) parts_->on_reactor(parts_->leave_if_drained());
  parts_->stop();
}

void Node::hand_over() { parts_->hand_over(); }

}  // namespace shufflefs
