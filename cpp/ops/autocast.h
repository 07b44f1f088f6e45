// The cast policies of automatic mixed precision, by name of function or op.
#pragma once

#include <string_view>

#include "engine/op.h"

namespace fireseed {

struct CastPolicies {
  const char* name;
  CastPolicy cpu, cuda;
};
// Null for what autocast leaves alone.
const CastPolicies* cast_policies(std::string_view name);

}  // namespace fireseed
