// What the doctor finds: what is so, why it matters, and what to do. Values.
#pragma once

#include <boost/json/value.hpp>
#include <string>
#include <vector>

#include "main/terminal.h"

namespace shufflefs::doctor {

// A problem fails jobs or the daemon, a warning makes it slow or fragile.
enum class Severity { kOk, kNote, kWarning, kProblem };

struct Finding {
  std::string check;  // a stable word: "kernel", "port", ...
  Severity severity = Severity::kOk;
  std::string what;
  std::string why;     // empty if all is well
  std::string remedy;  // empty if all is well
};

class Report {
 public:
  void ok(std::string check, std::string what);
  // Something to know, for which there is nothing to do.
  void note(std::string check, std::string what, std::string why);
  void warning(std::string check, std::string what, std::string why, std::string remedy);
  void problem(std::string check, std::string what, std::string why, std::string remedy);

  [[nodiscard]] const std::vector<Finding>& findings() const { return findings_; }
  [[nodiscard]] std::size_t count(Severity severity) const;
  [[nodiscard]] bool has_problem() const { return count(Severity::kProblem) > 0; }

 private:
  std::vector<Finding> findings_;
};

[[nodiscard]] std::string report_page(const Report& report, const Terminal& terminal);
[[nodiscard]] boost::json::value report_json(const Report& report);

}  // namespace shufflefs::doctor
