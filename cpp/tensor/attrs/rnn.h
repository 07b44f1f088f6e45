// Attributes of the recurrent layers.
#pragma once

#include <cstdint>

namespace fireseed {

enum class RnnMode : int64_t { kTanh, kRelu, kLstm, kGru };

struct RnnAttrs {
  RnnMode mode = RnnMode::kTanh;
  int64_t reverse = 0;  // 1: the steps run from the last to the first
  int64_t keep = 0;     // forward: 1 = write what the backward pass reads (gates, cells)
  int64_t needs = 0;    // backward: bit i = input i of the forward call wants its gradient
};

// What a row of the gates holds, a slot of `hidden` values each: LSTM i, f, g, o; GRU r, z, n and the recurrent part
// of n, which r multiplies; RNN none but the output. Weights have a block of rows for each of the first `gates` of
// them.
constexpr int64_t rnn_slots(RnnMode m) { return m == RnnMode::kLstm || m == RnnMode::kGru ? 4 : 1; }
constexpr int64_t rnn_gates(RnnMode m) { return m == RnnMode::kLstm ? 4 : m == RnnMode::kGru ? 3 : 1; }

}  // namespace fireseed
