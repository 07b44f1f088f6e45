// Device: where a tensor's memory lies, "cpu" or "cuda:i".
#pragma once

#include <cstdint>
#include <ostream>

namespace fireseed {

enum class DeviceKind : int8_t { kCpu, kCuda };

struct Device {
  DeviceKind kind = DeviceKind::kCpu;
  int8_t index = 0;
  bool is_cpu() const { return kind == DeviceKind::kCpu; }
  bool operator==(const Device&) const = default;
};

inline std::ostream& operator<<(std::ostream& out, Device d) {
  return d.is_cpu() ? out << "cpu" : out << "cuda:" << static_cast<int>(d.index);
}

}  // namespace fireseed
