// Finds and opens the CUDA plugin.
#include "tensor/backend.h"

#include <dlfcn.h>

#include <cstdlib>
#include <cstring>
#include <mutex>

#include "base/error.h"

namespace fireseed {

void (*on_backend)(const Backend& b) = nullptr;
thread_local const char* running_op = nullptr;
std::atomic<bool> allow_tf32_conv = true;
std::atomic<bool> allow_tf32 = false;

namespace {

Backend plugin;
std::string why_none;

std::string dl_error() {
  const char* e = dlerror();
  return e ? e : "unknown error";
}

// The folder of libfireseed.so.
std::string own_folder() {
  Dl_info info;
  if (!dladdr(reinterpret_cast<void*>(&find_backend), &info) || !info.dli_fname) return "";
  const std::string path = info.dli_fname;
  const size_t slash = path.rfind('/');
  return slash == std::string::npos ? "" : path.substr(0, slash + 1);
}

bool open_plugin() {
  const char* named = std::getenv("FIRESEED_CUDA_PLUGIN");
  std::string path;
  if (named && *named) {
    path = named;
  } else {
    void* driver = dlopen("libcuda.so.1", RTLD_LAZY | RTLD_LOCAL);
    if (!driver) {
      why_none = "no NVIDIA driver was found (" + dl_error() + ")";
      return false;
    }
    dlclose(driver);
    path = own_folder() + "libfireseed_cuda.so";
  }
  void* lib = dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL);
  if (!lib) {
    why_none =
        (named && *named ? "FIRESEED_CUDA_PLUGIN: " : "this build of fireseed has no CUDA plugin: ") + dl_error();
    return false;
  }
  auto* entry = reinterpret_cast<decltype(&fireseed_cuda_backend)>(dlsym(lib, "fireseed_cuda_backend"));
  if (!entry) {
    why_none = path + " is no CUDA plugin of fireseed: " + dl_error();
    return false;
  }
  Backend b;
  char reason[512] = "unknown reason";
  if (!entry(&b, reason, sizeof reason)) {
    why_none = reason;
    return false;
  }
  if (b.version != kBackendVersion || b.num_kernels != kNumKernels) {
    why_none = path + " was built for another version of fireseed";
    return false;
  }
  plugin = b;
  if (on_backend) on_backend(plugin);
  return true;
}

}  // namespace

const Backend* find_backend() {
  static const bool found = open_plugin();
  return found ? &plugin : nullptr;
}

const std::string& no_backend_reason() {
  find_backend();
  return why_none;
}

const Backend& backend(const char* what) {
  const Backend* b = find_backend();
  FS_CHECK(b, what, ": CUDA is not available: ", why_none,
           ". Use device='cpu', or write device = 'cuda' if fireseed.cuda.is_available() else 'cpu'");
  return *b;
}

void check_device(Device d, const char* what) {
  if (d.is_cpu()) return;
  const int n = backend(what).device_count();
  FS_CHECK(d.index >= 0 && d.index < n, what, ": device ", d, " does not exist: there ", n == 1 ? "is " : "are ", n,
           n == 1 ? " CUDA device" : " CUDA devices", " (invalid device ordinal)");
}

DeviceGuard::DeviceGuard(Device d) {
  if (d.is_cpu()) return;
  const Backend& b = backend("DeviceGuard");
  const int now = b.current_device();
  if (now == d.index) return;
  b.set_device(d.index);
  before_ = now;
}
DeviceGuard::~DeviceGuard() {
  if (before_ < 0) return;
  try {
    plugin.set_device(before_);
  } catch (const Error&) {  // a lost device was reported by what the scope did
  }
}

}  // namespace fireseed
