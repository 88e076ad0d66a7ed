#include "main/doctor/report.h"

#include <fmt/format.h>

#include <algorithm>
#include <boost/json/array.hpp>
#include <boost/json/object.hpp>

#include "base/escape.h"

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

}  // namespace shufflefs::doctor
