// Which tile a product is made of, and into how many parts its inner dimension is cut, so that all multiprocessors
// have work.
#pragma once

#include <algorithm>
#include <cstdint>

namespace fireseed::cuda {

struct TileOption {
  int m, n;
  double speed;  // of a multiprocessor full of such tiles; the largest tile's is 1
};
struct TilePlan {
  int option = 0;
  int parts = 1;     // of k
  int64_t part = 0;  // elements of k in a part, a multiple of the step; the last part may have fewer
};

// What a product is made with.
struct TileCosts {
  double products_a_clock;  // multiply-adds of a multiprocessor, with the largest tile
  int step;                 // elements of k that a block takes at a time
};

// Note [Choosing tiles]
// Estimated clocks of each choice: waves of blocks over the multiprocessors, each for as long as its tile takes plus
// what beginning and ending cost; parts of k are written to memory and summed by a second launch. The constants are
// estimates, to be replaced by measurements.
inline TilePlan plan_tiles(const TileOption* options, int num_options, TileCosts costs, int64_t m, int64_t n,
                           int64_t k, int64_t batch, int multiprocessors) {
  constexpr double kBlockClocks = 1500, kLaunchClocks = 4000, kBytesAClock = 2000;
  constexpr int kMostParts = 64, kLeastSteps = 4;
  const int64_t steps = std::max<int64_t>((k + costs.step - 1) / costs.step, 1);
  TilePlan best;
  double least = 0;
  for (int i = 0; i < num_options; ++i) {
    const TileOption& o = options[i];
    const double tiles = double((m + o.m - 1) / o.m) * double((n + o.n - 1) / o.n) * double(batch);
    for (int parts = 1; parts <= kMostParts; parts *= 2) {
      const int64_t steps_a_part = (steps + parts - 1) / parts;
      if (parts > 1 && (steps_a_part < kLeastSteps || tiles * parts >= 4.0 * multiprocessors)) break;
      const int64_t used = (steps + steps_a_part - 1) / steps_a_part;
      const double waves = double(int64_t(tiles * double(used) - 1) / multiprocessors + 1);
      double clocks =
          waves *
          (double(o.m) * o.n * double(steps_a_part * costs.step) / (costs.products_a_clock * o.speed) + kBlockClocks);
      if (used > 1) clocks += kLaunchClocks + double(m) * double(n) * double(batch) * double(used) * 8 / kBytesAClock;
      if ((i == 0 && parts == 1) || clocks < least) {
        least = clocks;
        best = {i, static_cast<int>(used), steps_a_part * costs.step};
      }
    }
  }
  return best;
}

}  // namespace fireseed::cuda
