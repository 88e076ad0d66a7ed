#include "main/node.h"

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/use_future.hpp>
#include <filesystem>
#include <random>
#include <thread>

#include "base/asio_runtime.h"
#include "base/log.h"
#include "fs/instance_lock.h"
#include "fs/operations.h"
#include "fs/session.h"
#include "fs/space_cache.h"
#include "fs/virtual_tree.h"
#include "main/api.h"
#include "merge/engine.h"
#include "net/admin_http.h"
#include "net/membership.h"
#include "net/peer_server.h"

namespace shufflefs {
namespace {

merge::EngineOptions engine_options(const Settings& settings) {
  merge::EngineOptions options;
  options.self = settings.node;
  // Canonical: what the kernel says of an open file is compared with it as text. They exist: serve
  // has made them.
  for (const std::string& data : settings.data)
    options.data_dirs.push_back(std::filesystem::canonical(data).string());
  options.push.enabled = settings.push.enabled;
  options.push.chunk_bytes = settings.push.chunk_bytes;
  options.push.max_block_bytes = settings.push.max_block_bytes;
  options.push.max_retries = settings.push.max_retries;
  options.push.jitter = settings.push.jitter;
  options.stream.ahead_bytes = settings.read.ahead_bytes;
  options.trash_grace = settings.trash_grace;
  return options;
}

net::NetOptions net_options(const Settings& settings) {
  net::NetOptions options;
  options.request_timeout = settings.read.peer_timeout;
  return options;
}

uint64_t random_incarnation() {
  std::random_device random;
  return (uint64_t{random()} << 32U) | random();
}

// The member list: as configured, or this node alone.
Result<net::MemberSpec> members_of(const Settings& settings) {
  if (!settings.members.empty()) return net::parse_members(settings.members);
  return net::MemberSpec{{{settings.node, settings.peer_listen}}, std::nullopt};
}

}  // namespace

// In the order of construction; destroyed in the reverse.
struct Node::Parts {
  Parts(const Settings& settings_in, net::MemberSpec spec)
      : settings(settings_in),
        runtime(settings.disk_threads),
        budget(runtime, settings.memory_bytes - settings.memory_bytes / 4),
        push_budget(runtime, settings.memory_bytes / 4),
        io(make_posix_file_io()),
        engine(runtime, *io, budget, push_budget, metrics, engine_options(settings)),
        context{
            runtime, budget, metrics, {settings.node, random_incarnation()}, net_options(settings)},
        membership(context, std::move(spec), engine.local_node()),
        server(context, *engine.local_node()),
        http(runtime),
        passthrough(metrics, settings.mount_passthrough),
        native(handles),
        api({settings, runtime, engine, membership, budget, push_budget, metrics, *io}),
        tree(engine, membership, native, passthrough, api.info_texts()) {}

  Parts(const Parts&) = delete;
  Parts& operator=(const Parts&) = delete;
  ~Parts() {
    // start() may have failed half-way: stop() is what ends the threads.
    stop();
  }

  Status start(std::function<void()> on_unable);
  void stop();
  // Runs the task on the reactor and waits for it.
  void on_reactor(Task<void> task) {
    asio::co_spawn(runtime.context(), std::move(task), asio::use_future).get();
  }
  Task<void> start_network() {
    engine.start(membership);
    membership.start();
    server.start();
    co_return;
  }
  Task<void> listen_http(Status& result) {
    result = http.listen(settings.http_listen);
    co_return;
  }
  Task<void> stop_network() {
    // First whoever asks peers, then the peers, then who answers them.
    co_await tree.stop();
    co_await http.stop();
    co_await engine.stop();
    co_await membership.stop();
    co_await server.stop();
  }

  const Settings settings;
  std::vector<fs::InstanceLock> locks;
  Metrics metrics;
  AsioRuntime runtime;
  ByteBudget budget;
  ByteBudget push_budget;
  std::unique_ptr<FileIo> io;
  merge::Engine engine;
  const net::Context context;
  net::Membership membership;
  net::PeerServer server;
  net::AdminHttp http;
  fs::HandleTable handles;
  fs::Passthrough passthrough;
  fs::NativeFs native;
  Api api;
  fs::VirtualTree tree;
  std::unique_ptr<fs::SpaceCache> space;
  std::unique_ptr<fs::Operations> operations;
  std::unique_ptr<fs::Session> session;
  std::thread reactor;
};

Status Node::Parts::start(std::function<void()> on_unable) {
  for (const std::string& data : settings.data) {
    TRY_ASSIGN(fs::InstanceLock lock, fs::InstanceLock::take(data));
    locks.push_back(std::move(lock));
  }
  fs::raise_file_limit();
  TRY(engine.prepare());
  TRY(tree.prepare());
  TRY(server.listen(settings.peer_listen));
  api.add_routes(http);
  reactor = std::thread([this] { runtime.run(); });
  on_reactor(start_network());

  space = std::make_unique<fs::SpaceCache>(native);
  operations =
      std::make_unique<fs::Operations>(native, handles, passthrough, *space, tree, metrics);
  TRY_ASSIGN(fs::Mount mount, fs::Mount::make(settings.mount, locks.front()));
  fs::SessionOptions options;
  options.max_threads = options.max_idle_threads = settings.fuse_threads;
  options.on_ended = std::move(on_unable);
  TRY_ASSIGN(session, fs::Session::start(std::move(mount), *operations, std::move(options)));
  // Last: who gets an answer here finds everything else working.
  Status listening;
  on_reactor(listen_http(listening));
  return listening;
}

void Node::Parts::stop() {
  if (session) session->stop();
  if (reactor.joinable()) {
    on_reactor(stop_network());
    runtime.stop();
    reactor.join();
  }
  session.reset();
  runtime.join_disk_threads();
}

Node::Node(std::unique_ptr<Parts> parts) : parts_(std::move(parts)) {}

Node::~Node() = default;

Result<std::unique_ptr<Node>> Node::start(const Settings& settings,
                                          std::function<void()> on_unable) {
  TRY_ASSIGN(net::MemberSpec spec, members_of(settings));
  auto parts = std::make_unique<Parts>(settings, std::move(spec));
  TRY(parts->start(std::move(on_unable)));
  return std::unique_ptr<Node>(new Node(std::move(parts)));
}

void Node::stop() { parts_->stop(); }

}  // namespace shufflefs
