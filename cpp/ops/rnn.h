// Recurrent layers and cells: RNN (tanh, relu), LSTM and GRU, whole sequences at a time.
#pragma once

#include <string_view>
#include <vector>

#include "tensor/attrs/rnn.h"
#include "tensor/tensor.h"

namespace fireseed {

struct RnnResult {
  Tensor y;     // (T, B, H), or packed (N, H)
  Tensor h, c;  // the final state; c: LSTM only
};

// The parameters of one layer in one direction. With G gates (LSTM 4, GRU 3, RNN 1): w_ih (G H, I), w_hh (G H, P or
// H), b_ih and b_hh (G H) or absent, w_hr (P, H), which projects the LSTM's output, or absent.
struct RnnWeights { Tensor w_ih, w_hh, b_ih, b_hh, w_hr; };

// One layer in one direction. x (T, B, I), or packed (N, I) with the batch size of each step (int64, not increasing).
// h0 (B, H or P), c0 (B, H): absent = zeros.
RnnResult rnn_layer(RnnMode mode, const Tensor& x, const Tensor& batch_sizes, const Tensor& h0, const Tensor& c0,
                    const RnnWeights& weights, bool reverse = false);

// torch.lstm, gru, rnn_tanh and rnn_relu: `num_layers` layers, each in one or two directions. params: w_ih, w_hh
// (b_ih, b_hh) (w_hr) of each layer and direction. h0, c0 (layers * directions, B, H) or absent. batch_first: x and y
// are (B, T, ...). Dropout lies between the layers, while training.
RnnResult rnn(RnnMode mode, const Tensor& x, const Tensor& batch_sizes, const Tensor& h0, const Tensor& c0,
              const std::vector<Tensor>& params, bool has_biases, int64_t num_layers, double dropout, bool train,
              bool bidirectional, bool batch_first);

// One step: x (B, I) or (I), h (B, H) or (H), c as h; absent = zeros. y is the new h.
RnnResult rnn_cell(RnnMode mode, const Tensor& x, const Tensor& h, const Tensor& c, const RnnWeights& weights);

// "RNN_TANH", "RNN_RELU", "LSTM", "GRU".
RnnMode rnn_mode(std::string_view name);

// The layer and its gradient written with differentiable functions: for projections and for second derivatives. g:
// cotangents of y, h, c; the result: those of x, h0, c0, w_ih, w_hh, b_ih, b_hh.
RnnResult rnn_composite(RnnMode mode, const Tensor& x, const Tensor& batch_sizes, const Tensor& h0, const Tensor& c0,
                        const RnnWeights& weights, bool reverse);
std::vector<Tensor> rnn_composite_backward(RnnMode mode, const Tensor& x, const Tensor& batch_sizes, const Tensor& h0,
                                           const Tensor& c0, const RnnWeights& weights, bool reverse,
                                           const Tensor* g);

}  // namespace fireseed
