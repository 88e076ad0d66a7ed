#include "main/dev_cluster.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/file.h>
#include <sys/stat.h>

#include <boost/asio/ip/address_v4.hpp>
#include <boost/json/parse.hpp>
#include <boost/json/value_to.hpp>
#include <cstdio>
#include <deque>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <stdexcept>

#include "base/json_text.h"
#include "base/parse.h"
#include "net/http_client.h"

namespace shufflefs {
namespace {

namespace fs = std::filesystem;
namespace json = boost::json;

json::object node_json(const ClusterNode& node) {
  json::object object;
  object["name"] = node.name;
  object["address"] = node.address;
  object["peer_port"] = kPeerPort;
  object["spark_port"] = kSparkPort;
  object["http_address"] = node.address;
  object["http_port"] = kHttpPort;
  object["mount"] = node.mount();
  object["data"] = node.data();
  object["pid"] = nullptr;
  object["start_time"] = nullptr;
  if (node.process) {
    object["pid"] = node.process->pid;
    object["start_time"] = node.process->start_time;
  }
  object["worker_pid"] = nullptr;
  return object;
}

ClusterNode node_from(const json::value& value, const std::string& directory) {
  const json::object& object = value.as_object();
  ClusterNode node;
  node.name = json::value_to<std::string>(object.at("name"));
  node.address = json::value_to<std::string>(object.at("address"));
  // Not read from the file: what down removes must lie in DIR whatever the file says.
  if (!is_node_name(node.name))
    throw std::invalid_argument(fmt::format("bad name '{}'", node.name));
  node.directory = fmt::format("{}/{}", directory, node.name);
  if (object.at("pid").is_number()) {
    node.process = ProcessId{json::value_to<pid_t>(object.at("pid")),
                             json::value_to<uint64_t>(object.at("start_time"))};
  }
  return node;
}

}  // namespace

bool is_node_name(std::string_view name) {
  return name.starts_with("node") && parse_decimal(name.substr(4), kMaxClusterNodes).has_value();
}

Result<DevCluster> plan_cluster(const std::string& directory, unsigned count,
                                std::string_view first_address) {
  boost::system::error_code error;
  const auto first = boost::asio::ip::make_address_v4(first_address, error);
  // Other addresses are not this machine's own.
  if (error || !first.is_loopback() || first.to_uint() + count >= 0x7fffffffU) {
    return make_error(
        Code::kInvalidArgument,
        fmt::format("--first-address {}: an address of 127.0.0.0/8 is needed, with {} to follow",
                    first_address, count - 1));
  }
  DevCluster cluster;
  cluster.directory = directory;
  for (unsigned i = 1; i <= count; ++i) {
    const std::string name = fmt::format("node{}", i);
    cluster.nodes.push_back({name, boost::asio::ip::address_v4(first.to_uint() + i - 1).to_string(),
                             fmt::format("{}/{}", directory, name), std::nullopt});
  }
  return cluster;
}

std::string members_of(const DevCluster& cluster) {
  std::string members;
  for (const ClusterNode& node : cluster.nodes) {
    members +=
        fmt::format("{}{}={}:{}", members.empty() ? "" : ",", node.name, node.address, kPeerPort);
  }
  return members;
}

json::value cluster_json(const DevCluster& cluster) {
  json::array nodes;
  for (const ClusterNode& node : cluster.nodes) nodes.push_back(node_json(node));
  json::object object;
  object["nodes"] = std::move(nodes);
  return object;
}

Result<std::optional<DevCluster>> load_cluster(const std::string& directory) {
  DevCluster cluster;
  cluster.directory = directory;
  std::ifstream file(cluster.state_file());
  if (!file) return std::optional<DevCluster>();
  std::ostringstream text;
  text << file.rdbuf();
  try {
    const json::value state = json::parse(text.str());
    for (const json::value& node : state.at("nodes").as_array())
      cluster.nodes.push_back(node_from(node, directory));
  } catch (const std::exception& error) {
    return make_error(Code::kInvalidArgument,
                      fmt::format("{} cannot be understood ({}): remove it, then 'shufflefs "
                                  "cluster down --dir {}' works from what "
                                  "it finds; daemons that still run must be ended by hand",
                                  cluster.state_file(), error.what(), directory));
  }
  return std::optional<DevCluster>(std::move(cluster));
}

Status save_cluster(const DevCluster& cluster) {
  const std::string path = cluster.state_file();
  const std::string temporary = path + ".new";
  {
    std::ofstream file(temporary, std::ios::trunc);
    file << json_text(cluster_json(cluster)) << "\n";
    if (!file.flush()) return errno_error(fmt::format("writing {}", temporary));
  }
  if (std::rename(temporary.c_str(), path.c_str()) != 0)
    return errno_error(fmt::format("writing {}", path));
  return ok();
}

Result<Fd> lock_cluster(const std::string& directory, bool make_it) {
  std::error_code error;
  if (make_it) fs::create_directories(directory, error);
  if (error) return make_error(Code::kIo, fmt::format("making {}: {}", directory, error.message()));
  Fd fd(::open(directory.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!fd) return errno_error(directory);
  if (::flock(fd.get(), LOCK_EX | LOCK_NB) != 0) {
    return make_error(
        Code::kExists,
        fmt::format("another 'shufflefs cluster' command is working on {}: wait for it",
                    directory));
  }
  return fd;
}

Status check_node(const ClusterNode& node) {
  if (!node.process) return make_error(Code::kNotFound, "not started");
  if (!is_alive(*node.process)) {
    return make_error(Code::kNotFound, fmt::format("its process {} is gone; see {}",
                                                   node.process->pid, node.log_file()));
  }
  const auto answer = net::http_call(net::HttpMethod::kGet, {node.address, kHttpPort}, "/readyz",
                                     std::chrono::seconds(2));
  if (answer && answer->status == 200) return ok();
  const std::string why = answer
                              ? fmt::format("it answers {}", answer->status)
                              : fmt::format("it does not answer at {}:{}", node.address, kHttpPort);
  return make_error(
      answer ? Code::kRefused : Code::kTimeout,
      fmt::format("process {} runs, but {}; see {}", node.process->pid, why, node.log_file()));
}

std::string log_tail(const ClusterNode& node, std::size_t lines) {
  std::ifstream file(node.log_file());
  std::deque<std::string> last;
  for (std::string line; std::getline(file, line);) {
    last.push_back(std::move(line));
    if (last.size() > lines) last.pop_front();
  }
  std::string text;
  for (const std::string& line : last) text += "    " + line + "\n";
  return text;
}

}  // namespace shufflefs
