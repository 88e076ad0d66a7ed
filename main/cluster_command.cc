// `shufflefs cluster up|status|down`: the command line of the development cluster
// (main/dev_cluster.h).
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <filesystem>
#include <iostream>

#include "base/escape.h"
#include "base/parse.h"
#include "main/client.h"
#include "main/commands.h"
#include "main/dev_cluster.h"
#include "main/terminal.h"

namespace shufflefs {
namespace {

struct ClusterOptions {
  std::string directory;
  unsigned nodes = 3;
  std::string first_address{kFirstAddress};
  std::vector<std::string> leave_down;
  std::string timeout = "30s";
  bool json = false;
  bool keep = false;
};

// Progress goes to the standard error, so that the standard output holds the result alone.
void say(const std::string& line) { std::cerr << printable_lines(line) << "\n"; }

int run_up(const ClusterOptions& options, const std::vector<std::string>& extra_flags) {
  const auto patience = parse_duration(options.timeout);
  if (!patience) return complain("--timeout: " + patience.error().message, kExitUsage);
  const auto cluster = cluster_up({.directory = options.directory,
                                   .nodes = options.nodes,
                                   .first_address = options.first_address,
                                   .leave_down = options.leave_down,
                                   .extra_flags = extra_flags,
                                   .patience = *patience},
                                  say);
  if (!cluster) {
    return complain(cluster.error().message,
                    cluster.error().code == Code::kInvalidArgument ? kExitUsage : kExitFailure);
  }
  if (options.json) {
    print_json(cluster_json(*cluster));
    return kExitOk;
  }
  const ClusterNode& first = cluster->nodes.front();
  std::cout << fmt::format(
      "The cluster is up. To look at it and to end it:\n"
      "  ls {}/shuffles\n"
      "  shufflefs status --http {}:{}\n"
      "  shufflefs cluster down --dir {}\n",
      first.mount(), first.address, kHttpPort, cluster->directory);
  return kExitOk;
}

int run_cluster_status(const ClusterOptions& options) {
  std::error_code error;
  const std::string directory =
      std::filesystem::weakly_canonical(options.directory, error).string();
  const auto cluster = load_cluster(directory);
  if (!cluster) return complain(cluster.error().message, kExitFailure);
  if (!*cluster) {
    return complain(
        fmt::format(
            "there is no cluster in {}: start one with 'shufflefs cluster up --nodes 3 --dir {}'",
            directory, directory),
        kExitFailure);
  }
  bool all_up = true;
  boost::json::value description = cluster_json(**cluster);
  std::vector<std::vector<std::string>> rows;
  const Terminal terminal = Terminal::of(1);
  for (std::size_t i = 0; i < (*cluster)->nodes.size(); ++i) {
    const ClusterNode& node = (*cluster)->nodes[i];
    const Status status = check_node(node);
    all_up = all_up && status.has_value();
    boost::json::object& object = description.at("nodes").at(i).as_object();
    object["up"] = status.has_value();
    object["reason"] = status ? std::string() : status.error().message;
    rows.push_back(
        {node.name, fmt::format("{}:{}", node.address, kHttpPort),
         status ? terminal.paint(Colour::kGreen, "up") : terminal.paint(Colour::kRed, "down"),
         status ? fmt::format("pid {}, {}", node.process->pid, node.mount())
                : printable(status.error().message)});
  }
  if (options.json)
    print_json(description);
  else
    std::cout << align(rows, "");
  return all_up ? kExitOk : kExitFailure;
}

int run_down(const ClusterOptions& options) {
  const auto done = cluster_down(options.directory, options.keep, say);
  return done ? kExitOk : complain(done.error().message, kExitFailure);
}

using SharedOptions = std::shared_ptr<ClusterOptions>;

CLI::App* add_part(CLI::App& parent, const std::string& name, const std::string& help,
                   const SharedOptions& options) {
  CLI::App* const command = parent.add_subcommand(name, help);
  command->add_option("--dir", options->directory, "The cluster's directory")
      ->required()
      ->type_name("DIR");
  return command;
}

void add_up(CLI::App& parent, const SharedOptions& options, CommandContext& context) {
  CLI::App* const up = add_part(
      parent, "up", "Start daemons on loopback addresses; returns when all answer", options);
  up->add_option("--nodes", options->nodes, "How many, 1 to 200")
      ->type_name("N")
      ->capture_default_str();
  up->add_option("--first-address", options->first_address,
                 "Of node1; the others follow. For several clusters at a time")
      ->type_name("ADDR")
      ->capture_default_str();
  up->add_option("--leave-down", options->leave_down,
                 "A node that is listed as a member but not started; may be given several times")
      ->type_name("NAME")
      ->expected(1)
      ->take_all();
  up->add_option("--timeout", options->timeout, "How long they may take to answer")
      ->type_name("DURATION")
      ->capture_default_str();
  up->add_flag("--json", options->json, "Print the nodes as JSON");
  up->footer(
      "Node i is called node<i>, listens on the i-th address from the first one on, is mounted at "
      "DIR/node<i>/mnt, keeps "
      "its data in\n"
      "DIR/node<i>/data and logs to DIR/node<i>/log/serve.log. What follows -- goes to every "
      "daemon.\n"
      "Exit codes: 0 all are up; 1 not, and everything was taken down again; 2 usage.\n\n"
      "  shufflefs cluster up --nodes 3 --dir /tmp/shuffle -- --memory 128M --push.jitter 0ms");
  up->callback([options, &context] {
    if (options->nodes < 1 || options->nodes > kMaxClusterNodes) {
      context.exit_code = complain(
          fmt::format("--nodes {}: 1 to {} are possible", options->nodes, kMaxClusterNodes),
          kExitUsage);
      return;
    }
    context.exit_code = run_up(*options, context.after_dashes);
  });
}

}  // namespace

void add_cluster_command(CLI::App& app, CommandContext& context) {
  CLI::App* const cluster = app.add_subcommand(
      "cluster", "A development cluster of real daemons on this machine: up, status, down");
  cluster->require_subcommand(1);
  const auto options = std::make_shared<ClusterOptions>();
  add_up(*cluster, options, context);

  CLI::App* const status =
      add_part(*cluster, "status", "Say which of its daemons are up, and why not", options);
  status->add_flag("--json", options->json, "Print the nodes as JSON, with \"up\" and \"reason\"");
  status->footer("Exit codes: 0 all are up; 1 some are not, or there is no cluster; 2 usage.");
  status->callback([options, &context] { context.exit_code = run_cluster_status(*options); });

  CLI::App* const down = add_part(
      *cluster, "down", "Stop it and remove what up has made, also after crashes", options);
  down->add_flag("--keep", options->keep, "Keep the data and the logs");
  down->footer(
      "Exit codes: 0 nothing is left, or there was nothing; 1 something could not be ended or "
      "removed; 2 usage.");
  down->callback([options, &context] { context.exit_code = run_down(*options); });
}

}  // namespace shufflefs
