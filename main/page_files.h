// The page at /: the files of main/page/ and docs/openapi.yaml, embedded by the build, served with
// headers that let a browser load nothing from anywhere else. They hold no data: the page asks
// /api/v1/cluster.
//
// Threads: constant.
#pragma once

#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "net/admin_http.h"

namespace shufflefs {

struct PageFile {
  std::string_view path;  // as it is asked for
  std::string_view content_type;
  std::string_view content;
};

[[nodiscard]] std::span<const PageFile> page_files();

// Returns their paths. "/" also answers for what no other route does.
std::vector<std::string> add_page_routes(net::AdminHttp& http);

}  // namespace shufflefs
