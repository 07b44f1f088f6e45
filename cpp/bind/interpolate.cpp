// Python functions of the resampling family.
#include "ops/interpolate.h"

#include "bind/fast_call.h"

namespace fireseed::bind {
namespace {

// None, a number or a sequence of numbers.
std::optional<std::vector<double>> factors(PyObject* o) {
  if (!o || o == Py_None) return {};
  const auto one = [](PyObject* item) {
    const double v = PyFloat_AsDouble(item);
    if (v == -1 && PyErr_Occurred()) throw PythonError{};
    return v;
  };
  std::vector<double> r;
  if (PyTuple_Check(o) || PyList_Check(o)) {
    for (Py_ssize_t i = 0; i < PySequence_Fast_GET_SIZE(o); ++i) r.push_back(one(PySequence_Fast_GET_ITEM(o, i)));
  } else {
    r.push_back(one(o));
  }
  return r;
}

std::optional<bool> flag(Args& a, int i) { return a.given(i) ? std::optional<bool>(a.boolean(i)) : std::nullopt; }

Tensor resample(Args& a, bool align_corners, std::string_view mode) {
  return interpolate(a.tensor(0), a.opt_dims(1), factors(a.object(2)), mode,
                     mode == "nearest" ? std::nullopt : std::optional<bool>(align_corners));
}

}  // namespace

FS_BINDINGS(interpolate) {
  for (const char* text :
       {"interpolate(Tensor input, int[]? size=None, object scale_factor=None, str mode='nearest', "
        "bool? align_corners=None, bool? recompute_scale_factor=None, bool antialias=False)",
        "upsample(Tensor input, int[]? size=None, object scale_factor=None, str mode='nearest', "
        "bool? align_corners=None, bool? recompute_scale_factor=None, bool antialias=False)"}) {
    def(
        text, kNN,
        [](Args& a) {
          return interpolate(a.tensor(0), a.opt_dims(1), factors(a.object(2)), a.str(3), flag(a, 4), flag(a, 5),
                             a.boolean(6));
        },
        "Resamples the spatial dimensions of (N, C, [D, [H,]] W) to `size` or by `scale_factor`; modes nearest, "
        "nearest-exact, "
        "linear, bilinear, trilinear, bicubic, area.");
  }
  def("upsample_nearest(Tensor input, int[]? size=None, object scale_factor=None)", kNN,
      [](Args& a) { return resample(a, false, "nearest"); });
  def("upsample_bilinear(Tensor input, int[]? size=None, object scale_factor=None)", kNN,
      [](Args& a) { return resample(a, true, "bilinear"); });
}

}  // namespace fireseed::bind
