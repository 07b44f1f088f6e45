// Record of the recurrent layer; stacks of layers, both directions, cells.
#include "ops/rnn.h"

#include "engine/mode.h"
#include "ops/copy.h"
#include "ops/move.h"
#include "ops/random.h"
#include "ops/records.h"
#include "ops/shape.h"

namespace fireseed {
namespace {

// Inputs of op::rnn: x, h0, c0, w_ih, w_hh, b_ih, b_hh, batch sizes. Outputs: y, h, c, gates, cells.
constexpr int kInputs = 8, kOutputs = 5, kGradients = 7;

void rnn_infer(Inputs in, const void* attrs, Tensor* out) {
  const auto& a = *static_cast<const RnnAttrs*>(attrs);
  const Tensor& x = in[0];
  const int64_t gates = rnn_gates(a.mode), hidden = in[4].size(1), input = in[3].size(1);
  const bool packed = in[7].defined(), lstm = a.mode == RnnMode::kLstm;
  FS_CHECK(x.dim() == (packed ? 2 : 3) && x.size(-1) == input, "rnn: expected an input of ", packed ? 2 : 3,
           " dimensions, the last of size ", input, ", got shape ", x.sizes());
  int64_t batch = packed ? 0 : x.size(1);
  if (packed) {
    FS_CHECK(in[7].dim() == 1 && in[7].dtype() == DType::kInt64 && in[7].is_contiguous(),
             "rnn: expected batch_sizes of one dimension and dtype int64, got shape ", in[7].sizes(), " and dtype ",
             dtype_name(in[7].dtype()));
    const int64_t* sizes = in[7].data<int64_t>();
    int64_t rows = 0;
    for (int64_t t = 0; t < in[7].numel(); ++t) {
      FS_CHECK(sizes[t] >= 1 && (t == 0 || sizes[t] <= sizes[t - 1]),
               "rnn: batch_sizes must be positive and may not increase, got ", sizes[t], " at step ", t);
      rows += sizes[t];
    }
    FS_CHECK(rows == x.size(0), "rnn: batch_sizes add up to ", rows, ", but the packed input has ", x.size(0),
             " rows");
    batch = in[7].numel() ? sizes[0] : 0;
  }
  FS_CHECK((packed ? in[7].numel() : x.size(0)) > 0, "rnn: Expected sequence length to be larger than 0 in RNN");
  FS_CHECK(in[3].size(0) == gates * hidden && in[4].size(0) == gates * hidden, "rnn: expected weights of ",
           gates * hidden, " rows, got shapes ", in[3].sizes(), " and ", in[4].sizes());
  for (int i = 5; i < 7; ++i)
    FS_CHECK(!in[i].defined() || (in[i].dim() == 1 && in[i].size(0) == gates * hidden), "rnn: expected biases of ",
             gates * hidden, " elements, got shape ", in[i].sizes());
  const Dims state{batch, hidden};
  for (int i = 1; i < (lstm ? 3 : 2); ++i)
    FS_CHECK(!in[i].defined() || in[i].sizes() == state, "rnn: Expected hidden size ", state, ", got ",
             in[i].sizes());
  for (int i = 1; i < 7; ++i)
    FS_CHECK(!in[i].defined() || in[i].dtype() == x.dtype(), "rnn: input has dtype ", dtype_name(x.dtype()),
             ", but a state or parameter has ", dtype_name(in[i].dtype()));
  const int64_t rows = packed ? x.size(0) : x.size(0) * batch, slots = rnn_slots(a.mode);
  out[0] = make_shell(packed ? Dims{rows, hidden} : Dims{x.size(0), batch, hidden}, x.dtype(), x.device());
  out[1] = make_shell(state, x.dtype(), x.device());
  if (lstm) out[2] = make_shell(state, x.dtype(), x.device());
  if (a.keep && slots > 1) out[3] = make_shell(Dims{rows, slots * hidden}, x.dtype(), x.device());
  if (a.keep && lstm) out[4] = make_shell(Dims{rows, hidden}, x.dtype(), x.device());
}

void rnn_vjp(const Vjp& c, const Tensor* g, Tensor* gx) {
  const auto& a = c.attrs<RnnAttrs>();
  const RnnWeights weights{c.input(3), c.input(4), c.input(5), c.input(6), Tensor()};
  const std::vector<Tensor> all =
      rnn_composite_backward(a.mode, c.input(0), c.input(7), c.input(1), c.input(2), weights, a.reverse, g);
  for (int i = 0; i < kGradients; ++i)
    if (c.needs(i)) gx[i] = all[static_cast<size_t>(i)];
}

// in: cotangents of y, h, c; x, h0, c0, w_ih, w_hh; y, gates, cells; batch sizes.
void rnn_backward_infer(Inputs in, const void* attrs, Tensor* out) {
  const auto& a = *static_cast<const RnnAttrs*>(attrs);
  const Tensor& x = in[3];
  const int64_t hidden = in[7].size(1), rows = in[7].size(0);
  const int64_t batch = in[11].defined() ? in[11].data<int64_t>()[0] : x.size(1);
  const Dims sizes[kGradients] = {x.sizes(),     Dims{batch, hidden}, Dims{batch, hidden}, in[6].sizes(),
                                  in[7].sizes(), Dims{rows},          Dims{rows}};
  for (int i = 0; i < kGradients; ++i)
    if (a.needs >> i & 1) out[i] = make_shell(sizes[i], x.dtype(), x.device());
}
void rnn_vjp_fused(const Vjp& c, const Tensor* g, Tensor* gx) {
  RnnAttrs a = c.attrs<RnnAttrs>();
  for (int i = 0; i < kGradients; ++i) a.needs |= static_cast<int64_t>(c.needs(i)) << i;
  const Tensor in[] = {g[0],       g[1],       g[2],        c.input(0),  c.input(1),  c.input(2),
                       c.input(3), c.input(4), c.output(0), c.output(3), c.output(4), c.input(7)};
  apply(op::rnn_backward, in, &a, gx);
}

bool wants_gradient(const Tensor& t) {
  if (!t.defined() || !mode.grad_enabled) return false;
  if (t.is_view()) grad_fn(t);  // brings the flag up to date
  return t.requires_grad();
}

}  // namespace

constinit Op op::rnn{.name = "rnn",
                     .saves = save_input(0) | save_input(1) | save_input(2) | save_input(3) | save_input(4) |
                              save_input(5) | save_input(6) | save_input(7) | save_output(0) | save_output(3) |
                              save_output(4),
                     .attrs_size = sizeof(RnnAttrs),
                     .num_outputs = kOutputs,
                     .host_inputs = save_input(7),
                     .infer = rnn_infer,
                     .vjp = rnn_vjp,
                     .vjp_fused = rnn_vjp_fused};
constinit Op op::rnn_backward{.name = "rnn_backward",
                              .flags = kNotDifferentiable,
                              .attrs_size = sizeof(RnnAttrs),
                              .num_outputs = kGradients,
                              .host_inputs = save_input(11),
                              .infer = rnn_backward_infer};

RnnResult rnn_layer(RnnMode mode, const Tensor& x, const Tensor& batch_sizes, const Tensor& h0, const Tensor& c0,
                    const RnnWeights& w, bool reverse) {
  FS_CHECK_KIND(x.is_floating(), ErrorKind::kNotImplemented, "rnn: expected a floating point input, got ",
                dtype_name(x.dtype()));
  FS_CHECK(w.w_ih.dim() == 2 && w.w_hh.dim() == 2, "rnn: expected weights of two dimensions, got shapes ",
           w.w_ih.sizes(), " and ", w.w_hh.sizes());
  if (is_half(x.dtype())) {  // all steps in float, one rounding at the end
    const auto wide = [](const Tensor& t) { return t.defined() ? to(t, DType::kFloat32) : t; };
    const auto narrow = [&](const Tensor& t) { return t.defined() ? to(t, x.dtype()) : t; };
    const RnnWeights ww{wide(w.w_ih), wide(w.w_hh), wide(w.b_ih), wide(w.b_hh), wide(w.w_hr)};
    const RnnResult r = rnn_layer(mode, wide(x), batch_sizes, wide(h0), wide(c0), ww, reverse);
    return {narrow(r.y), narrow(r.h), narrow(r.c)};
  }
  if (w.w_hr.defined()) return rnn_composite(mode, x, batch_sizes, h0, c0, w, reverse);
  const Tensor in[kInputs] = {x, h0, c0, w.w_ih, w.w_hh, w.b_ih, w.b_hh, batch_sizes};
  bool keep = false;
  for (const Tensor& t : in) keep = keep || wants_gradient(t);
  const RnnAttrs attrs{.mode = mode, .reverse = reverse, .keep = keep};
  Tensor out[kOutputs];
  apply(op::rnn, in, &attrs, out);
  return {out[0], out[1], out[2]};
}

RnnResult rnn(RnnMode mode, const Tensor& x, const Tensor& batch_sizes, const Tensor& h0, const Tensor& c0,
              const std::vector<Tensor>& params, bool has_biases, int64_t num_layers, double dropout_p, bool train,
              bool bidirectional, bool batch_first) {
  const int64_t directions = bidirectional ? 2 : 1, count = num_layers * directions;
  const int64_t each = count > 0 ? static_cast<int64_t>(params.size()) / count : 0, plain = has_biases ? 4 : 2;
  FS_CHECK(count > 0 && each * count == static_cast<int64_t>(params.size()) && (each == plain || each == plain + 1),
           "rnn: expected ", plain, " parameters (one more with projections) for each of ", count,
           " layers and directions, got ", params.size());
  for (const Tensor& s : {h0, c0})
    FS_CHECK(!s.defined() || (s.dim() == 3 && s.size(0) == count), "rnn: Expected hidden of ", count,
             " layers and directions, got shape ", s.sizes());
  const bool swap = batch_first && !batch_sizes.defined();
  // Steps are launched from the host, which reads the sizes.
  const Tensor sizes =
      batch_sizes.defined() ? contiguous(to(batch_sizes, batch_sizes.dtype(), Device{})) : batch_sizes;
  RnnResult r;
  r.y = swap ? transpose(x, 0, 1) : x;
  std::vector<Tensor> h, c;
  for (int64_t layer = 0; layer < num_layers; ++layer) {
    Tensor side[2];
    for (int64_t d = 0; d < directions; ++d) {
      const int64_t k = layer * directions + d;
      const Tensor* p = params.data() + k * each;
      const RnnWeights w{p[0], p[1], has_biases ? p[2] : Tensor(), has_biases ? p[3] : Tensor(),
                         each > plain ? p[plain] : Tensor()};
      const RnnResult one = rnn_layer(mode, r.y, sizes, h0.defined() ? select(h0, 0, k) : h0,
                                      c0.defined() ? select(c0, 0, k) : c0, w, d == 1);
      side[d] = one.y;
      h.push_back(one.h);
      c.push_back(one.c);
    }
    r.y = bidirectional ? cat(side, -1) : side[0];
    if (dropout_p != 0 && train && layer + 1 < num_layers) r.y = dropout(r.y, dropout_p, true);
  }
  if (swap) r.y = transpose(r.y, 0, 1);
  r.h = count == 1 ? unsqueeze(h[0], 0) : stack(h);
  if (mode == RnnMode::kLstm) r.c = count == 1 ? unsqueeze(c[0], 0) : stack(c);
  return r;
}

RnnResult rnn_cell(RnnMode mode, const Tensor& x, const Tensor& h, const Tensor& c, const RnnWeights& weights) {
  FS_CHECK(x.dim() == 1 || x.dim() == 2, "rnn_cell: Expected input to be 1D or 2D, got ", x.dim(), "D instead");
  const bool batched = x.dim() == 2;
  const auto rows = [](const Tensor& t) { return t.defined() && t.dim() == 1 ? unsqueeze(t, 0) : t; };
  RnnResult r = rnn_layer(mode, unsqueeze(rows(x), 0), Tensor(), rows(h), rows(c), weights);
  r.y = r.h;
  if (!batched) {
    r.y = r.h = squeeze(r.h, Dims{0});
    if (r.c.defined()) r.c = squeeze(r.c, Dims{0});
  }
  return r;
}

RnnMode rnn_mode(std::string_view name) {
  if (name == "RNN_TANH") return RnnMode::kTanh;
  if (name == "RNN_RELU") return RnnMode::kRelu;
  if (name == "GRU") return RnnMode::kGru;
  FS_CHECK(name == "LSTM", "Unrecognized RNN mode: ", name);
  return RnnMode::kLstm;
}

}  // namespace fireseed
