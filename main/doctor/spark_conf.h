// Spark's configuration as it lies in SPARK_CONF_DIR: spark-defaults.conf, and the assignments of
// spark-env.sh that a shell would make without executing anything. Pure functions but for reading.
#pragma once

#include <map>
#include <string>

namespace shufflefs::doctor {

class Host;

using SparkConf = std::map<std::string, std::string, std::less<>>;

// "key value", "key=value" and "key: value", as java.util.Properties reads them; # and ! comment.
[[nodiscard]] SparkConf parse_spark_defaults(const std::string& text);
// NAME=value and export NAME=value, quotes taken off; what needs a shell ($, `) is left as it is.
[[nodiscard]] SparkConf parse_spark_env(const std::string& text);

}  // namespace shufflefs::doctor
