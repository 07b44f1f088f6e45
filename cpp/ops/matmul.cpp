// Matrix products: shape rules, gradients, and the compositions that need no kernel of their own.
#include "ops/matmul.h"

#include "engine/apply.h"
#include "ops/copy.h"
#include "ops/creation.h"
#include "ops/pointwise.h"
#include "ops/records.h"
#include "ops/reduce.h"
#include "ops/shape.h"
#include "tensor/attrs/matmul.h"

namespace fireseed {
namespace {

// PyTorch's C++ names, which its messages about dtypes use.
const char* scalar_name(DType t) {
  constexpr const char* kName[] = {"bool", "unsigned char", "signed char",   "short", "int",
                                   "long", "c10::Half",     "c10::BFloat16", "float", "double"};
  return kName[static_cast<int>(t)];
}
const char* type_name(DType t) {
  constexpr const char* kName[] = {"Bool", "Byte", "Char",     "Short", "Int",
                                   "Long", "Half", "BFloat16", "Float", "Double"};
  return kName[static_cast<int>(t)];
}

void check_not_bool(const char* op, const Tensor& a) {
  FS_CHECK_KIND(a.dtype() != DType::kBool, ErrorKind::kNotImplemented, '"', op,
                "\" not implemented for 'Bool': a matrix product needs numbers, cast with .to(float) first");
}
void check_same_dtype(const char* op, const Tensor& a, const Tensor& b) {
  FS_CHECK(a.dtype() == b.dtype(), op,
           ": expected m1 and m2 to have the same dtype, but got: ", scalar_name(a.dtype()),
           " != ", scalar_name(b.dtype()));
  check_not_bool(op, a);
}
// a (m, k) or (k), b (k, n) or (k).
void check_inner(const char* op, const Tensor& a, const Tensor& b) {
  const int64_t k = b.size(b.dim() > 1 ? -2 : 0);
  FS_CHECK(a.size(-1) == k, op, ": mat1 and mat2 shapes cannot be multiplied (", a.dim() > 1 ? a.size(-2) : 1, "x",
           a.size(-1), " and ", k, "x", b.dim() > 1 ? b.size(-1) : 1, ")");
}

// --- matmul: two matrices, a matrix and a vector, two vectors, or two batches of the same sizes -------------------

// Shapes and dtypes of a product of these ranks; `op` is the function's name in messages.
void check_product(const char* op, const Tensor& a, const Tensor& b) {
  const int64_t na = a.dim(), nb = b.dim();
  if (na == 1 && nb == 1) {
    FS_CHECK(a.size(0) == b.size(0), op, ": inconsistent tensor size, expected tensor [", a.size(0), "] and src [",
             b.size(0), "] to have the same number of elements, but got ", a.size(0), " and ", b.size(0),
             " elements respectively");
  } else if (nb == 1) {
    FS_CHECK(a.size(1) == b.size(0), op, ": size mismatch, got input (", a.size(0), "), mat (", a.size(0), "x",
             a.size(1), "), vec (", b.size(0), ")");
  } else if (na <= 2) {
    check_inner(op, a, b);
  } else {
    bool match = a.size(-1) == b.size(-2);
    for (int64_t i = 0; i < na - 2; ++i) match = match && a.size(i) == b.size(i);
    FS_CHECK(match, op, ": Expected size for first two dimensions of batch2 tensor to be: [", a.size(0), ", ",
             a.size(-1), "] but got: [", b.size(0), ", ", b.size(-2), "] (shapes ", a.sizes(), " and ", b.sizes(),
             ").");
  }
  check_same_dtype(op, a, b);
}

void matmul_infer(Inputs in, const void*, Tensor* out) {
  const Tensor &a = in[0], &b = in[1];
  check_product("matmul", a, b);
  const int64_t na = a.dim(), nb = b.dim();
  Dims sizes = a.sizes();
  if (na == 1 && nb == 1) sizes = Dims{};
  else if (nb == 1) sizes = Dims{a.size(0)};
  else if (na == 1) sizes = Dims{b.size(1)};
  else sizes[sizes.n - 1] = b.size(-1);
  out[0] = make_shell(sizes, a.dtype(), a.device());
}

Tensor product(const Tensor& a, const Tensor& b) { return apply1(op::matmul, {a, b}); }
Tensor flipped(const Tensor& x) { return transpose(x, -2, -1); }

void matmul_vjp(const Vjp& c, const Tensor* gs, Tensor* gx) {
  const Tensor& g = gs[0];
  const Dims& out = c.output_sizes();
  if (c.needs(0)) {
    const Tensor b = c.input(1);
    if (out.n == 0) gx[0] = g * b;
    else if (b.dim() == 1) gx[0] = outer(g, b);
    else if (g.dim() == 1) gx[0] = product(b, g);
    else gx[0] = product(g, flipped(b));
  }
  if (c.needs(1)) {
    const Tensor a = c.input(0);
    if (out.n == 0) gx[1] = g * a;
    else if (a.dim() == 1) gx[1] = outer(a, g);
    else gx[1] = product(flipped(a), g);
  }
}

// --- linear --------------------------------------------------------------------------------------------------------

void linear_infer(Inputs in, const void*, Tensor* out) {
  const Tensor &x = in[0], &w = in[1];
  int64_t rows = 1;
  for (int64_t i = 0; i + 1 < x.dim(); ++i) rows *= x.size(i);
  FS_CHECK(x.size(-1) == w.size(1), "linear: mat1 and mat2 shapes cannot be multiplied (", rows, "x", x.size(-1),
           " and ", w.size(1), "x", w.size(0), "): got input ", x.sizes(), " and weight ", w.sizes());
  check_same_dtype("linear", x, w);
  if (in.size() > 2 && in[2].defined())
    FS_CHECK(in[2].dtype() == x.dtype(), "linear: self and mat2 must have the same dtype, but got ",
             type_name(in[2].dtype()), " and ", type_name(w.dtype()), " (bias and weight)");
  Dims sizes = x.sizes();
  sizes[sizes.n - 1] = w.size(0);
  out[0] = make_shell(sizes, x.dtype(), x.device());
}

// (rows..., n) as a matrix.
Tensor as_matrix(const Tensor& x) {
  if (x.dim() == 2) return x;
  int64_t rows = 1;
  for (int64_t i = 0; i + 1 < x.dim(); ++i) rows *= x.size(i);
  return reshape(x, {rows, x.size(-1)});
}

void linear_vjp(const Vjp& c, const Tensor* gs, Tensor* gx) {
  const Tensor& g = gs[0];
  if (c.needs(0)) {
    const Tensor w = c.input(1);
    gx[0] = g.dim() <= 2 ? product(g, w) : matmul(g, w);
  }
  if (c.needs(1)) gx[1] = product(flipped(as_matrix(g)), as_matrix(c.input(0)));
  if (c.needs(2)) gx[2] = g;  // summed to the bias's shape
}

// --- addmm: input already broadcast to the result -----------------------------------------------------------------

void addmm_infer(Inputs in, const void*, Tensor* out) {
  const Tensor &a = in[1], &b = in[2];
  Dims sizes = a.sizes();
  sizes[sizes.n - 1] = b.size(-1);
  out[0] = make_shell(sizes, a.dtype(), a.device());
}
void addmm_vjp(const Vjp& c, const Tensor* gs, Tensor* gx) {
  const AddmmAttrs& at = c.attrs<AddmmAttrs>();
  const Tensor& g = gs[0];
  if (c.needs(0)) gx[0] = at.beta == 1 ? g : g * at.beta;
  const Tensor ga = at.alpha == 1 || !(c.needs(1) || c.needs(2)) ? g : g * at.alpha;
  if (c.needs(1)) gx[1] = product(ga, flipped(c.input(2)));
  if (c.needs(2)) gx[2] = product(flipped(c.input(1)), ga);
}

AddmmAttrs addmm_attrs(DType t, Scalar beta, Scalar alpha) {
  if (is_integral(t)) return {static_cast<double>(alpha.to_int()), static_cast<double>(beta.to_int())};
  return {alpha.to_double(), beta.to_double()};
}

}  // namespace

constinit Op op::matmul{.name = "matmul",
                        .flags = kBilinear,
                        .saves = save_input(0) | save_input(1),
                        .infer = matmul_infer,
                        .vjp = matmul_vjp};
constinit Op op::linear{.name = "linear",
                        .flags = kBilinear,
                        .saves = save_input(0) | save_input(1),
                        .infer = linear_infer,
                        .vjp = linear_vjp};
constinit Op op::addmm{.name = "addmm",
                       .saves = save_input(1) | save_input(2),
                       .attrs_size = sizeof(AddmmAttrs),
                       .infer = addmm_infer,
                       .vjp = addmm_vjp};

Tensor matmul(const Tensor& a, const Tensor& b) {
  const int64_t na = a.dim(), nb = b.dim();
  FS_CHECK(na > 0 && nb > 0, "matmul: both arguments to matmul need to be at least 1D, but they are ", na, "D and ",
           nb, "D");
  if (na <= 2 && nb <= 2) return product(a, b);
  if (nb <= 2) {  // rows of a batch: one product, one gradient for b
    Dims sizes = a.sizes();
    if (nb == 2) sizes[na - 1] = b.size(1);
    else --sizes.n;
    return reshape(product(as_matrix(a), b), sizes);
  }
  if (na == 1) {  // (k) x (batch..., k, n)
    return squeeze(matmul(unsqueeze(a, 0), b), Dims{-2});
  }
  if (na == 2 && nb == 3) {  // the batch joins b's columns only by a copy: broadcast instead
    Dims sizes{b.size(0), a.size(0), a.size(1)};
    check_inner("matmul", a, b);
    return product(expand(a, sizes), b);
  }
  if (na == 3 && nb == 3 && a.size(0) == b.size(0)) return product(a, b);
  Dims batch_a(a.impl()->sizes, na - 2), batch_b(b.impl()->sizes, nb - 2);
  Dims batch = broadcast_shapes(batch_a, batch_b, "matmul");
  Dims sa = batch, sb = batch;
  sa.push_back(a.size(-2));
  sa.push_back(a.size(-1));
  sb.push_back(b.size(-2));
  sb.push_back(b.size(-1));
  return product(expand(a, sa), expand(b, sb));
}

Tensor mm(const Tensor& a, const Tensor& b) {
  FS_CHECK(a.dim() == 2, "mm: self must be a matrix, got shapes ", a.sizes(), " and ", b.sizes());
  FS_CHECK(b.dim() == 2, "mm: mat2 must be a matrix, got shapes ", a.sizes(), " and ", b.sizes());
  check_product("mm", a, b);
  return product(a, b);
}

static void check_batches(const char* op, const Tensor& a, const Tensor& b) {
  FS_CHECK(a.dim() == 3, op, ": batch1 must be a 3D tensor, got shape ", a.sizes());
  FS_CHECK(b.dim() == 3, op, ": batch2 must be a 3D tensor, got shape ", b.sizes());
}

Tensor bmm(const Tensor& a, const Tensor& b) {
  check_batches("bmm", a, b);
  check_product("bmm", a, b);
  return product(a, b);
}

Tensor mv(const Tensor& a, const Tensor& b) {
  FS_CHECK(a.dim() == 2 && b.dim() == 1, "mv: vector + matrix @ vector expected, got ", 1, ", ", a.dim(), ", ",
           b.dim());
  check_product("mv", a, b);
  return product(a, b);
}

Tensor dot(const Tensor& a, const Tensor& b) {
  FS_CHECK(a.dim() == 1 && b.dim() == 1, "dot: 1D tensors expected, but got ", a.dim(), "D and ", b.dim(),
           "D tensors");
  check_product("dot", a, b);
  return product(a, b);
}

Tensor outer(const Tensor& a, const Tensor& b) {
  FS_CHECK(a.dim() == 1, "outer: Expected 1-D argument self, but got ", a.dim(), "-D");
  FS_CHECK(b.dim() == 1, "outer: Expected 1-D argument vec2, but got ", b.dim(), "-D");
  return mul(unsqueeze(a, 1), b);
}

Tensor inner(const Tensor& a, const Tensor& b) {
  if (a.dim() == 0 || b.dim() == 0) return mul(a, b);
  FS_CHECK(a.size(-1) == b.size(-1), "inner() the last dimension must match on both input tensors but got shapes ",
           a.sizes(), " and ", b.sizes());
  return tensordot(a, b, {-1}, {-1});
}

Tensor linear(const Tensor& x, const Tensor& weight, const Tensor& bias) {
  FS_CHECK(x.dim() > 0 && weight.dim() > 0, "linear: both arguments to linear need to be at least 1D, but they are ",
           x.dim(), "D and ", weight.dim(), "D");
  if (weight.dim() == 1) {
    const Tensor y = matmul(x, weight);
    return bias.defined() ? add(y, bias) : y;
  }
  FS_CHECK(weight.dim() == 2, "t() expects a tensor with <= 2 dimensions, but self is ", weight.dim(),
           "D: linear's weight must be (out_features, in_features), got ", weight.sizes());
  if (!bias.defined()) return apply1(op::linear, {x, weight});
  if (bias.dim() == 1 && bias.size(0) == weight.size(0)) return apply1(op::linear, {x, weight, bias});
  const Tensor y = apply1(op::linear, {x, weight});
  FS_CHECK(bias.dim() != 1 || bias.size(0) == 1, "linear: The expanded size of the tensor (", y.size(-1),
           ") must match the existing size (", bias.size(0), "): got weight ", weight.sizes(), " and bias ",
           bias.sizes());
  if (x.dim() <= 2) return add(expand(bias, y.sizes()), y);
  return add(y, bias);
}

// input broadcast to the product's shape; the error names the op.
static Tensor broadcast_input(const char* op, const Tensor& input, const Dims& sizes) {
  bool fits = input.dim() <= sizes.n;
  for (int64_t i = 1; fits && i <= input.dim(); ++i)
    fits = input.size(-i) == 1 || input.size(-i) == sizes[sizes.n - i];
  FS_CHECK(fits, op, ": The expanded size of the tensor must match the existing size: input of shape ", input.sizes(),
           " cannot be broadcast to the product's shape ", sizes);
  return expand(input, sizes);
}

Tensor addmm(const Tensor& input, const Tensor& a, const Tensor& b, Scalar beta, Scalar alpha) {
  FS_CHECK(a.dim() == 2, "addmm: mat1 must be a matrix, got ", a.dim(), "-D tensor");
  FS_CHECK(b.dim() == 2, "addmm: mat2 must be a matrix, got ", b.dim(), "-D tensor");
  check_inner("addmm", a, b);
  FS_CHECK(input.dtype() == b.dtype() && a.dtype() == b.dtype(),
           "addmm: self and mat2 must have the same dtype, but got ",
           type_name(input.dtype() == b.dtype() ? a.dtype() : input.dtype()), " and ", type_name(b.dtype()));
  check_not_bool("addmm", a);
  return apply1(op::addmm, {broadcast_input("addmm", input, {a.size(0), b.size(1)}), a, b},
                addmm_attrs(a.dtype(), beta, alpha));
}

Tensor baddbmm(const Tensor& input, const Tensor& a, const Tensor& b, Scalar beta, Scalar alpha) {
  check_batches("baddbmm", a, b);
  FS_CHECK(a.size(0) == b.size(0) && a.size(2) == b.size(1),
           "baddbmm: Expected size for first two dimensions of batch2 tensor to be: [", a.size(0), ", ", a.size(2),
           "] but got: [", b.size(0), ", ", b.size(1), "].");
  FS_CHECK(input.dtype() == a.dtype() && a.dtype() == b.dtype(),
           "baddbmm: Input dtypes must be the same, got: input ", scalar_name(input.dtype()),
           ", batch1: ", scalar_name(a.dtype()), ", batch2: ", scalar_name(b.dtype()));
  check_not_bool("baddbmm", a);
  return apply1(op::addmm, {broadcast_input("baddbmm", input, {a.size(0), a.size(1), b.size(2)}), a, b},
                addmm_attrs(a.dtype(), beta, alpha));
}

Tensor addbmm(const Tensor& input, const Tensor& a, const Tensor& b, Scalar beta, Scalar alpha) {
  check_batches("addbmm", a, b);
  FS_CHECK(a.size(0) == b.size(0), "addbmm: batch1 and batch2 must have same number of batches, got ", a.size(0),
           " and ", b.size(0));
  FS_CHECK(a.size(2) == b.size(1), "addbmm: Incompatible matrix sizes for bmm (", a.size(1), "x", a.size(2), " and ",
           b.size(1), "x", b.size(2), ")");
  // The sum over the batch is part of the inner sum: (m, batch * k) (batch * k, n).
  const int64_t inner = a.size(0) * a.size(2);
  return addmm(input, reshape(permute(a, {1, 0, 2}), {a.size(1), inner}), reshape(b, {inner, b.size(2)}), beta,
               alpha);
}

Tensor addmv(const Tensor& input, const Tensor& a, const Tensor& b, Scalar beta, Scalar alpha) {
  FS_CHECK(a.dim() == 2 && b.dim() == 1 && input.dim() <= 1, "addmv: vector + matrix @ vector expected, got ",
           input.dim(), ", ", a.dim(), ", ", b.dim());
  FS_CHECK(a.size(1) == b.size(0) && (input.numel() == 1 || input.size(0) == a.size(0)),
           "addmv: size mismatch, got input (", input.dim() ? input.size(0) : 1, "), mat (", a.size(0), "x",
           a.size(1), "), vec (", b.size(0), ")");
  FS_CHECK(input.dtype() == a.dtype() && a.dtype() == b.dtype(),
           "addmv: input tensors must have the same dtype, but got ", type_name(input.dtype()), ", ",
           type_name(a.dtype()), ", and ", type_name(b.dtype()));
  const Tensor column = unsqueeze(expand(input, {a.size(0)}), 1);
  return squeeze(addmm(column, a, unsqueeze(b, 1), beta, alpha), Dims{1});
}

Tensor addr(const Tensor& input, const Tensor& a, const Tensor& b, Scalar beta, Scalar alpha) {
  FS_CHECK(a.dim() == 1, "addr: Expected 1-D argument vec1, but got ", a.dim(), "-D");
  FS_CHECK(b.dim() == 1, "addr: Expected 1-D argument vec2, but got ", b.dim(), "-D");
  const Tensor x = broadcast_input("addr", input, {a.size(0), b.size(0)});
  const Tensor y = outer(a, b);
  const Tensor scaled = alpha.to_double() == 1 ? y : mul(y, wrapped_number(alpha));
  if (beta.to_double() == 0) return to(scaled, result_type(input, y));
  return add(beta.to_double() == 1 ? x : mul(x, wrapped_number(beta)), scaled);
}

Tensor bilinear(const Tensor& x1, const Tensor& x2, const Tensor& weight, const Tensor& bias) {
  FS_CHECK(weight.dim() == 3, "bilinear(): weight must be (out, in1, in2), got ", weight.sizes());
  FS_CHECK(x1.dim() == x2.dim() && x1.dim() > 0, "bilinear(): input dimensions do not match: got ", x1.dim(), " and ",
           x2.dim());
  for (int64_t i = 0; i + 1 < x1.dim(); ++i)
    FS_CHECK(x1.size(i) == x2.size(i), "bilinear(): input batch dimensions do not match at dim ", i, ": got ",
             x1.size(i), " and ", x2.size(i));
  FS_CHECK(x1.size(-1) == weight.size(1), "bilinear(): input1 size does not match weight size: got ", x1.size(-1),
           " but expected ", weight.size(1));
  FS_CHECK(x2.size(-1) == weight.size(2), "bilinear(): input2 size does not match weight size: got ", x2.size(-1),
           " but expected ", weight.size(2));
  FS_CHECK(!bias.defined() || bias.size(0) == weight.size(0),
           "bilinear(): bias size does not match weight size: got ", bias.size(0), " but expected ", weight.size(0));
  const int64_t o = weight.size(0), i = weight.size(1), j = weight.size(2);
  const Tensor a = as_matrix(x1), b = as_matrix(x2);
  // (rows, i) (i, o j) -> (rows, o, j), then each (o, j) (j, 1).
  const Tensor half = reshape(product(a, reshape(permute(weight, {1, 0, 2}), {i, o * j})), {a.size(0), o, j});
  Dims sizes = x1.sizes();
  sizes[sizes.n - 1] = o;
  const Tensor y = reshape(product(half, unsqueeze(b, 2)), sizes);
  return bias.defined() ? add(y, bias) : y;
}

Tensor tensordot(const Tensor& a, const Tensor& b, const Dims& dims_a, const Dims& dims_b) {
  FS_CHECK(dims_a.n == dims_b.n, "tensordot: both dimension lists should have same length: tensordot got ", dims_a,
           " and ", dims_b);
  Tensor x = a, y = b;
  int64_t k = 1;
  bool used_a[kMaxRank] = {}, used_b[kMaxRank] = {};
  Dims order_a, order_b, sizes, last_a, first_b;
  for (int64_t i = 0; i < dims_a.n; ++i) {
    const int64_t da = wrap_dim(dims_a[i], a.dim(), "tensordot"), db = wrap_dim(dims_b[i], b.dim(), "tensordot");
    FS_CHECK(a.dim() > 0 && b.dim() > 0 && !used_a[da] && !used_b[db], "tensordot: dim ", da,
             " appears multiple times in the list of dims");
    used_a[da] = used_b[db] = true;
    last_a.push_back(da);
    first_b.push_back(db);
    const int64_t sa = a.size(da), sb = b.size(db);
    if (sa == 1 && sb != 1) y = sum(y, Dims{db}, true);  // broadcast: the other is summed first
    else if (sb == 1 && sa != 1) x = sum(x, Dims{da}, true);
    else
      FS_CHECK(sa == sb, "tensordot: contracted dimensions need to match, but first has size ", sa, " in dim ",
               dims_a[i], " and second has size ", sb, " in dim ", dims_b[i]);
    k *= sa == 1 || sb == 1 ? 1 : sa;
  }
  int64_t m = 1, n = 1;
  for (int64_t d = 0; d < a.dim(); ++d)
    if (!used_a[d]) {
      order_a.push_back(d);
      sizes.push_back(a.size(d));
      m *= a.size(d);
    }
  for (int64_t d : last_a) order_a.push_back(d);
  order_b = first_b;
  for (int64_t d = 0; d < b.dim(); ++d)
    if (!used_b[d]) {
      order_b.push_back(d);
      sizes.push_back(b.size(d));
      n *= b.size(d);
    }
  return reshape(product(reshape(permute(x, order_a), {m, k}), reshape(permute(y, order_b), {k, n})), sizes);
}

Tensor multi_dot(const std::vector<Tensor>& tensors) {
  const size_t n = tensors.size();
  FS_CHECK(n >= 2, "multi_dot(): expected at least 2 tensors but got ", n);
  std::vector<Tensor> t = tensors;
  const bool first = t[0].dim() == 1, last = t[n - 1].dim() == 1;
  if (first) t[0] = unsqueeze(t[0], 0);
  if (last) t[n - 1] = unsqueeze(t[n - 1], 1);
  std::vector<int64_t> p;
  for (size_t i = 0; i < n; ++i) {
    FS_CHECK(t[i].dim() == 2, "multi_dot(): tensor ", i, " must be ", i == 0 || i == n - 1 ? "1D or 2D" : "2D",
             " but got ", tensors[i].dim(), "D");
    FS_CHECK(i == 0 || t[i - 1].size(1) == t[i].size(0), "multi_dot(): tensors ", i - 1, " and ", i, " with shapes ",
             tensors[i - 1].sizes(), " and ", tensors[i].sizes(), " cannot be multiplied");
    p.push_back(t[i].size(0));
  }
  p.push_back(t[n - 1].size(1));
  // Cheapest order by dynamic programming (Cormen et al., Introduction to Algorithms, 15.2).
  std::vector<std::vector<double>> cost(n, std::vector<double>(n, 0));
  std::vector<std::vector<size_t>> cut(n, std::vector<size_t>(n, 0));
  for (size_t len = 1; len < n; ++len)
    for (size_t i = 0; i + len < n; ++i) {
      const size_t j = i + len;
      cost[i][j] = 1e300;
      for (size_t k = i; k < j; ++k) {
        const double c = cost[i][k] + cost[k + 1][j] + double(p[i]) * double(p[k + 1]) * double(p[j + 1]);
        if (c < cost[i][j]) cost[i][j] = c, cut[i][j] = k;
      }
    }
  const auto build = [&](const auto& self, size_t i, size_t j) -> Tensor {
    return i == j ? t[i] : product(self(self, i, cut[i][j]), self(self, cut[i][j] + 1, j));
  };
  Tensor r = build(build, 0, n - 1);
  if (last) r = squeeze(r, Dims{1});
  if (first) r = squeeze(r, Dims{0});
  return r;
}

}  // namespace fireseed
