// The targets that play a whole connection against a server; see each one's file.
#pragma once

#include "tests/fuzz/targets.h"

namespace shufflefs::fuzz {

void peer_session(Input input);   // peer_session.cc: the port between nodes
void spark_session(Input input);  // spark_session.cc: Spark's shuffle service
void http_session(Input input);   // http_session.cc: the port of people and scrapers

}  // namespace shufflefs::fuzz
