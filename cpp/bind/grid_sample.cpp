// Python functions of sampling at the points of a grid.
#include "ops/grid_sample.h"

#include <string>

#include "bind/fast_call.h"

namespace fireseed::bind {
namespace {

GridMode mode_of(std::string_view s) {
  if (s == "bilinear") return GridMode::kLinear;
  if (s == "nearest") return GridMode::kNearest;
  FS_CHECK_VALUE(s == "bicubic",
                 "nn.functional.grid_sample(): expected mode to be 'bilinear', 'nearest' or 'bicubic', but got: '",
                 std::string(s), "'");
  return GridMode::kCubic;
}
GridPadding padding_of(std::string_view s) {
  if (s == "zeros") return GridPadding::kZeros;
  if (s == "border") return GridPadding::kBorder;
  FS_CHECK_VALUE(s == "reflection",
                 "nn.functional.grid_sample(): expected padding_mode to be 'zeros', 'border', or 'reflection', but "
                 "got: '",
                 std::string(s), "'");
  return GridPadding::kReflection;
}

}  // namespace

FS_BINDINGS(grid_sample) {
  def(
      "grid_sample(Tensor input, Tensor grid, str mode='bilinear', str padding_mode='zeros', bool? "
      "align_corners=None)",
      kNN,
      [](Args& a) {
        return grid_sample(a.tensor(0), a.tensor(1), mode_of(a.str(2)), padding_of(a.str(3)),
                           a.given(4) && a.boolean(4));
      },
      "Samples (N, C, *in) at points in [-1, 1]: grid (N, *out, dims), x first -> (N, C, *out).");
  for (const char* name : {"grid_sampler", "grid_sampler_2d", "grid_sampler_3d"}) {
    const std::string text =
        std::string(name) +
        "(Tensor input, Tensor grid, int interpolation_mode, int padding_mode, bool align_corners)";
    def(text.c_str(), kFunction, [](Args& a) {
      const int64_t mode = a.i64(2), padding = a.i64(3);
      FS_CHECK(mode >= 0 && mode <= 2 && padding >= 0 && padding <= 2,
               "grid_sampler(): expected interpolation_mode and padding_mode to be 0, 1 or 2, got ", mode, " and ",
               padding);
      return grid_sample(a.tensor(0), a.tensor(1), static_cast<GridMode>(mode), static_cast<GridPadding>(padding),
                         a.boolean(4));
    });
  }
}

}  // namespace fireseed::bind
