// Python functions of the recurrent layers and cells.
#include "ops/rnn.h"

#include "bind/fast_call.h"

namespace fireseed::bind {
namespace {

// (input, hx, params, has_biases, num_layers, dropout, train, bidirectional, batch_first)
RnnResult padded(Args& a, RnnMode mode, const Tensor& h, const Tensor& c) {
  return rnn(mode, a.tensor(0), Tensor(), h, c, a.tensors(2), a.boolean(3), a.i64(4), a.f64(5), a.boolean(6),
             a.boolean(7), a.boolean(8));
}
// (data, batch_sizes, hx, params, has_biases, num_layers, dropout, train, bidirectional)
RnnResult packed(Args& a, RnnMode mode, const Tensor& h, const Tensor& c) {
  return rnn(mode, a.tensor(0), a.tensor(1), h, c, a.tensors(3), a.boolean(4), a.i64(5), a.f64(6), a.boolean(7),
             a.boolean(8), false);
}
template <RnnMode kMode>
std::pair<Tensor, Tensor> padded_state(Args& a) {
  const RnnResult r = padded(a, kMode, a.tensor(1), Tensor());
  return {r.y, r.h};
}
template <RnnMode kMode>
std::pair<Tensor, Tensor> packed_state(Args& a) {
  const RnnResult r = packed(a, kMode, a.tensor(2), Tensor());
  return {r.y, r.h};
}
std::vector<Tensor> two_states(std::vector<Tensor> hx, const char* name) {
  FS_CHECK(hx.size() == 2, name, " expects two hidden states, got ", hx.size());
  return hx;
}
RnnWeights weights_from(Args& a, int i) {
  return {a.tensor(i), a.tensor(i + 1), a.opt_tensor(i + 2), a.opt_tensor(i + 3), Tensor()};
}
template <RnnMode kMode>
Tensor cell(Args& a) {
  return rnn_cell(kMode, a.tensor(0), a.tensor(1), Tensor(), weights_from(a, 2)).y;
}

}  // namespace

#define FS_RNN(name, mode)                                                                                           \
  def(                                                                                                               \
      #name                                                                                                          \
      "(Tensor input, Tensor hx, Tensor[] params, bool has_biases, int num_layers, float dropout, bool train, bool " \
      "bidirectional, bool batch_first)",                                                                            \
      kFunction, [](Args& a) { return padded_state<RnnMode::mode>(a); }, "(T, B, I), h_0 -> output, h_n.");          \
  def(#name                                                                                                          \
      "(Tensor data, Tensor batch_sizes, Tensor hx, Tensor[] params, bool has_biases, int num_layers, float "        \
      "dropout, bool train, bool bidirectional)",                                                                    \
      kFunction, [](Args& a) { return packed_state<RnnMode::mode>(a); });                                            \
  def(                                                                                                               \
      #name "_cell(Tensor input, Tensor hx, Tensor w_ih, Tensor w_hh, Tensor? b_ih=None, Tensor? b_hh=None)",        \
      kFunction, [](Args& a) { return cell<RnnMode::mode>(a); }, "One step: (B, I), (B, H) -> (B, H).")

FS_BINDINGS(rnn) {
  FS_RNN(rnn_tanh, kTanh);
  FS_RNN(rnn_relu, kRelu);
  FS_RNN(gru, kGru);
  def(
      "lstm(Tensor input, Tensor[] hx, Tensor[] params, bool has_biases, int num_layers, float dropout, bool train, "
      "bool bidirectional, bool batch_first)",
      kFunction,
      [](Args& a) {
        const std::vector<Tensor> hx = two_states(a.tensors(1), "lstm");
        const RnnResult r = padded(a, RnnMode::kLstm, hx[0], hx[1]);
        return std::tuple<Tensor, Tensor, Tensor>(r.y, r.h, r.c);
      },
      "(T, B, I), (h_0, c_0) -> output, h_n, c_n.");
  def("lstm(Tensor data, Tensor batch_sizes, Tensor[] hx, Tensor[] params, bool has_biases, int num_layers, float "
      "dropout, bool train, bool bidirectional)",
      kFunction, [](Args& a) {
        const std::vector<Tensor> hx = two_states(a.tensors(2), "lstm");
        const RnnResult r = packed(a, RnnMode::kLstm, hx[0], hx[1]);
        return std::tuple<Tensor, Tensor, Tensor>(r.y, r.h, r.c);
      });
  def(
      "lstm_cell(Tensor input, Tensor[] hx, Tensor w_ih, Tensor w_hh, Tensor? b_ih=None, Tensor? b_hh=None)",
      kFunction,
      [](Args& a) {
        const std::vector<Tensor> hx = two_states(a.tensors(1), "lstm_cell");
        const RnnResult r = rnn_cell(RnnMode::kLstm, a.tensor(0), hx[0], hx[1], weights_from(a, 2));
        return std::pair<Tensor, Tensor>(r.y, r.c);
      },
      "One step: (B, I), ((B, H), (B, H)) -> (h, c).");
  // What the modules call: any mode, states may be absent. Returns output, h_n, c_n (None but for LSTM).
  def("_rnn(str mode, Tensor input, Tensor? batch_sizes, Tensor? h, Tensor? c, Tensor[] params, bool has_biases, int "
      "num_layers, float dropout, bool train, bool bidirectional, bool batch_first)",
      kPrivate, [](Args& a) {
        const RnnResult r =
            rnn(rnn_mode(a.str(0)), a.tensor(1), a.opt_tensor(2), a.opt_tensor(3), a.opt_tensor(4), a.tensors(5),
                a.boolean(6), a.i64(7), a.f64(8), a.boolean(9), a.boolean(10), a.boolean(11));
        return std::tuple<Tensor, Tensor, Tensor>(r.y, r.h, r.c);
      });
  def("_rnn_cell(str mode, Tensor input, Tensor? h, Tensor? c, Tensor w_ih, Tensor w_hh, Tensor? b_ih, Tensor? b_hh)",
      kPrivate, [](Args& a) {
        const RnnResult r =
            rnn_cell(rnn_mode(a.str(0)), a.tensor(1), a.opt_tensor(2), a.opt_tensor(3), weights_from(a, 4));
        return std::pair<Tensor, Tensor>(r.y, r.c);
      });
}

}  // namespace fireseed::bind
