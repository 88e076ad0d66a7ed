// The report and the machine as the doctor reads it; the contract is in main/doctor/doctor.h.
#include <fmt/format.h>
#include <poll.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <boost/json/array.hpp>
#include <boost/json/object.hpp>
#include <csignal>
#include <filesystem>
#include <fstream>
#include <sstream>

#include "base/escape.h"
#include "base/fd.h"
#include "base/parse.h"
#include "main/doctor/doctor.h"

namespace shufflefs::doctor {
namespace {

std::string_view word_of(Severity severity) {
  switch (severity) {
    case Severity::kOk: return "ok";
    case Severity::kNote: return "note";
    case Severity::kWarning: return "warning";
    case Severity::kProblem: return "problem";
  }
  return "";
}

Colour colour_of(Severity severity) {
  switch (severity) {
    case Severity::kOk: return Colour::kGreen;
    case Severity::kNote: return Colour::kDim;
    case Severity::kWarning: return Colour::kYellow;
    case Severity::kProblem: return Colour::kRed;
  }
  return Colour::kNone;
}

std::string counted(std::size_t count, std::string_view what) {
  return fmt::format("{} {}{}", count, what, count == 1 ? "" : "s");
}

}  // namespace

void Report::ok(std::string check, std::string what) {
  findings_.push_back({std::move(check), Severity::kOk, std::move(what), "", ""});
}
void Report::note(std::string check, std::string what, std::string why) {
  findings_.push_back({std::move(check), Severity::kNote, std::move(what), std::move(why), ""});
}
void Report::warning(std::string check, std::string what, std::string why, std::string remedy) {
  findings_.push_back(
      {std::move(check), Severity::kWarning, std::move(what), std::move(why), std::move(remedy)});
}
void Report::problem(std::string check, std::string what, std::string why, std::string remedy) {
  findings_.push_back(
      {std::move(check), Severity::kProblem, std::move(what), std::move(why), std::move(remedy)});
}

std::size_t Report::count(Severity severity) const {
  return static_cast<std::size_t>(std::ranges::count(findings_, severity, &Finding::severity));
}

std::string report_page(const Report& report, const Terminal& terminal) {
  std::string text;
  for (const Finding& finding : report.findings()) {
    const std::string word = fmt::format("{:<8}", word_of(finding.severity));
    text += fmt::format("{}{:<12} {}\n", terminal.paint(colour_of(finding.severity), word),
                        finding.check, printable(finding.what));
    if (!finding.why.empty()) text += fmt::format("{:21}Why: {}\n", "", printable(finding.why));
    if (!finding.remedy.empty())
      text += fmt::format("{:21}To do: {}\n", "", printable(finding.remedy));
  }
  return text + fmt::format("\n{}, {}, {} ok\n",
                            counted(report.count(Severity::kProblem), "problem"),
                            counted(report.count(Severity::kWarning), "warning"),
                            report.count(Severity::kOk));
}

boost::json::value report_json(const Report& report) {
  boost::json::array list;
  for (const Finding& finding : report.findings()) {
    list.push_back({{"check", finding.check},
                    {"severity", std::string(word_of(finding.severity))},
                    {"what", finding.what},
                    {"why", finding.why},
                    {"remedy", finding.remedy}});
  }
  return boost::json::object{{"problems", report.count(Severity::kProblem)},
                             {"warnings", report.count(Severity::kWarning)},
                             {"findings", std::move(list)}};
}

namespace {

namespace stdfs = std::filesystem;

std::vector<std::string> words_of(const std::string& text) {
  std::vector<std::string> words;
  for (const std::string_view word : split(text, '\0')) {
    if (!word.empty()) words.emplace_back(word);
  }
  return words;
}

// The child's answer: a code, an errno, the text.
[[noreturn]] void answer_and_end(int to, const Result<std::string>& result) {
  const std::string text = result ? fmt::format("0 0 {}", *result)
                                  : fmt::format("{} {} {}", static_cast<int>(result.error().code),
                                                result.error().sys_errno, result.error().message);
  std::string_view left = text;
  while (!left.empty()) {
    const ssize_t n = ::write(to, left.data(), left.size());
    if (n <= 0) break;
    left.remove_prefix(static_cast<std::size_t>(n));
  }
  ::_exit(0);
}

Result<std::string> read_answer(int from, std::chrono::milliseconds patience) {
  constexpr std::size_t kMost = 1U << 20U;
  const auto deadline = std::chrono::steady_clock::now() + patience;
  std::string text;
  while (text.size() < kMost) {
    const auto left =
        std::chrono::ceil<std::chrono::milliseconds>(deadline - std::chrono::steady_clock::now());
    pollfd wanted{from, POLLIN, 0};
    if (left.count() <= 0 || ::poll(&wanted, 1, static_cast<int>(left.count())) == 0)
      return make_error(Code::kTimeout, fmt::format("no answer within {} ms", patience.count()));
    std::array<char, 4096> piece{};
    const ssize_t n = ::read(from, piece.data(), piece.size());
    if (n <= 0) break;
    text.append(piece.data(), static_cast<std::size_t>(n));
  }
  std::istringstream words(text);
  int code = 0;
  int error = 0;
  if (!(words >> code >> error))
    return make_error(Code::kInternal, "the process that looked has died");
  const std::size_t at = std::min(static_cast<std::size_t>(words.tellg()) + 1, text.size());
  if (code == 0) return text.substr(at);
  return Error{static_cast<Code>(code), error, text.substr(at)};
}

}  // namespace

std::string Host::read(const std::string& path) const {
  std::ifstream file(root_ + path, std::ios::binary);
  std::ostringstream text;
  text << file.rdbuf();
  return text.str();
}

bool Host::exists(const std::string& path) const {
  std::error_code error;
  return stdfs::exists(root_ + path, error);
}

std::string Host::line(const std::string& path) const {
  std::ifstream file(root_ + path);
  std::string text;
  std::getline(file, text);
  while (!text.empty() && std::isspace(static_cast<unsigned char>(text.back())) != 0)
    text.pop_back();
  return text;
}

std::vector<std::string> Host::list(const std::string& path) const {
  std::vector<std::string> names;
  std::error_code error;
  for (const auto& entry : stdfs::directory_iterator(root_ + path, error))
    names.push_back(entry.path().filename().string());
  std::sort(names.begin(), names.end());
  return names;
}

std::string Host::link(const std::string& path) const {
  std::error_code error;
  return stdfs::read_symlink(root_ + path, error).string();
}

bool Process::has_argument(std::string_view text) const {
  return std::ranges::any_of(arguments, [&](const std::string& argument) {
    return argument.find(text) != std::string::npos;
  });
}

std::optional<std::string> Process::variable(std::string_view name) const {
  for (const std::string& entry : environment) {
    if (entry.starts_with(name) && entry.substr(name.size(), 1) == "=")
      return entry.substr(name.size() + 1);
  }
  return std::nullopt;
}

std::string Process::label() const {
  if (arguments.empty()) return fmt::format("process {}", pid);
  std::string name = stdfs::path(arguments.front()).filename().string();
  for (const std::string& argument : arguments) {
    if (argument.starts_with("org.apache.spark.")) name += " " + argument;
  }
  return fmt::format("{} (pid {})", name, pid);
}

Process process_of(const Host& host, pid_t pid) {
  return {pid, words_of(host.read(fmt::format("/proc/{}/cmdline", pid))),
          words_of(host.read(fmt::format("/proc/{}/environ", pid)))};
}

std::vector<Process> processes(const Host& host) {
  std::vector<Process> all;
  for (const std::string& name : host.list("/proc")) {
    const auto pid = parse_decimal(name, INT32_MAX);
    if (pid) all.push_back(process_of(host, static_cast<pid_t>(*pid)));
  }
  return all;
}

Result<std::string> in_child(const std::function<Result<std::string>()>& work,
                             std::chrono::milliseconds patience) {
  std::array<int, 2> ends{};
  if (::pipe2(ends.data(), O_CLOEXEC) != 0) return errno_error("cannot make a pipe");
  const Fd from(ends[0]);
  Fd to(ends[1]);
  const pid_t child = ::fork();
  if (child < 0) return errno_error("cannot start a process");
  if (child == 0) answer_and_end(to.get(), work());
  to.reset();
  auto answer = read_answer(from.get(), patience);
  // One that hangs in the kernel is left to the system; nobody waits for it.
  if (!answer) ::kill(child, SIGKILL);
  ::waitpid(child, nullptr, answer ? 0 : WNOHANG);
  return answer;
}

}  // namespace shufflefs::doctor
