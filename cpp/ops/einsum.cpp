// einsum: letters to axes, then products of pairs as batched matrix products.
#include "ops/matmul.h"
#include "ops/pointwise.h"
#include "ops/reduce.h"
#include "ops/shape.h"

namespace fireseed {
namespace {

constexpr int kLabels = 52 + kMaxRank;  // a-z, A-Z, then the axes of "..."

int label_of(char c) { return c >= 'a' && c <= 'z' ? c - 'a' : c >= 'A' && c <= 'Z' ? c - 'A' + 26 : -1; }
char letter_of(int label) { return static_cast<char>(label < 26 ? 'a' + label : 'A' + label - 26); }

struct Term {
  std::vector<int> labels;  // kEllipsis stands for the axes of "..."
  bool ellipsis = false;
};
constexpr int kEllipsis = -2;

Term parse_term(std::string_view text, size_t start, const std::string& where) {
  Term t;
  for (size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    if (c == ' ') continue;
    if (c == '.') {
      FS_CHECK(!t.ellipsis, "einsum(): found '.' for ", where, " for which an ellipsis was already found");
      FS_CHECK(i + 2 < text.size() && text[i + 1] == '.' && text[i + 2] == '.', "einsum(): found '.' for ", where,
               " that is not part of any ellipsis");
      i += 2;
      t.ellipsis = true;
      t.labels.push_back(kEllipsis);
      continue;
    }
    FS_CHECK(label_of(c) >= 0, "einsum(): invalid subscript given at index ", start + i,
             " in the equation string, subscripts must be in [a-zA-Z]");
    t.labels.push_back(label_of(c));
  }
  return t;
}

// x (axes of the labels in `axes`, in their order) times y: axes of the result are those of `axes`, of size 1 where a
// label is neither in x nor in y, or is summed (in `done`). All operands have all axes, of size 1 where absent.
Tensor multiply(Tensor x, Tensor y, const std::vector<bool>& done) {
  const int64_t n = x.dim();
  Dims batch, left, right, inner;
  int64_t nb = 1, nl = 1, nr = 1, nk = 1;
  for (int64_t d = 0; d < n; ++d) {
    const bool in_x = x.size(d) != 1, in_y = y.size(d) != 1;
    if (done[static_cast<size_t>(d)]) {
      if (in_x && in_y) {
        inner.push_back(d);
        nk *= x.size(d);
        continue;
      }
      if (in_x) x = sum(x, Dims{d}, true);
      if (in_y) y = sum(y, Dims{d}, true);
      batch.push_back(d);
    } else if (in_x && in_y) {
      batch.push_back(d);
      nb *= x.size(d);
    } else if (in_x) {
      left.push_back(d);
      nl *= x.size(d);
    } else if (in_y) {
      right.push_back(d);
      nr *= y.size(d);
    } else {
      batch.push_back(d);
    }
  }
  Dims ox, oy, sizes, back = Dims::filled(n, 0);
  const auto append = [](Dims& to, const Dims& from) {
    for (int64_t d : from) to.push_back(d);
  };
  append(ox, batch), append(ox, left), append(ox, inner), append(ox, right);
  append(oy, batch), append(oy, inner), append(oy, right), append(oy, left);
  Dims order;
  append(order, batch), append(order, left), append(order, right), append(order, inner);
  for (int64_t i = 0; i < n; ++i) {
    const int64_t d = order[i];
    back[d] = i;
    sizes.push_back(done[static_cast<size_t>(d)] ? 1 : x.size(d) != 1 ? x.size(d) : y.size(d));
  }
  const Tensor r = bmm(reshape(permute(x, ox), {nb, nl, nk}), reshape(permute(y, oy), {nb, nk, nr}));
  return permute(reshape(r, sizes), back);
}

}  // namespace

Tensor einsum(std::string_view equation, const std::vector<Tensor>& operands) {
  FS_CHECK_VALUE(!operands.empty(),
                 "einsum(): must specify the equation string and at least one operand, or at least one "
                 "operand and its subscripts list");
  const size_t arrow = equation.find("->");
  const std::string_view lhs = equation.substr(0, arrow);
  std::vector<Term> terms;
  for (size_t start = 0;;) {
    const size_t comma = lhs.find(',', start);
    FS_CHECK(terms.size() < operands.size(), "einsum(): fewer operands were provided than specified in the equation");
    terms.push_back(parse_term(lhs.substr(start, comma == std::string_view::npos ? comma : comma - start), start,
                               "operand " + std::to_string(terms.size())));
    if (comma == std::string_view::npos) break;
    start = comma + 1;
  }
  FS_CHECK(terms.size() == operands.size(), "einsum(): more operands were provided than specified in the equation");

  // Count letters and the axes of the ellipsis.
  int count[52] = {};
  int64_t dots = 0;
  for (size_t i = 0; i < terms.size(); ++i) {
    const int64_t letters = static_cast<int64_t>(terms[i].labels.size()) - terms[i].ellipsis;
    for (int l : terms[i].labels)
      if (l >= 0) ++count[l];
    const int64_t nd = operands[i].dim();
    FS_CHECK(terms[i].ellipsis ? letters <= nd : letters == nd,
             "einsum(): the number of subscripts in the equation (", letters,
             terms[i].ellipsis ? ") is more than the number of dimensions ("
                               : ") does not match the number of dimensions (",
             nd, ") for operand ", i, terms[i].ellipsis ? "" : " and no ellipsis was given");
    if (terms[i].ellipsis && nd - letters > dots) dots = nd - letters;
  }

  // The result's labels in order; ellipsis axes are labels 52 and up.
  std::vector<int> result;
  bool kept[kLabels] = {};
  const auto keep_dots = [&] {
    for (int64_t d = 0; d < dots; ++d) {
      result.push_back(static_cast<int>(52 + d));
      kept[52 + d] = true;
    }
  };
  if (arrow == std::string_view::npos) {  // implicit: "..." then the letters that occur once, upper case first
    keep_dots();
    for (int c : {26, 0})
      for (int l = c; l < c + 26; ++l)
        if (count[l] == 1) {
          result.push_back(l);
          kept[l] = true;
        }
  } else {
    const Term out = parse_term(equation.substr(arrow + 2), arrow + 2, "output");
    for (int l : out.labels) {
      if (l == kEllipsis) {
        keep_dots();
        continue;
      }
      FS_CHECK(!kept[l], "einsum(): output subscript ", letter_of(l), " appears more than once in the output");
      FS_CHECK(count[l] > 0, "einsum(): output subscript ", letter_of(l),
               " does not appear in the equation for any input operand");
      kept[l] = true;
      result.push_back(l);
    }
  }

  // Axes of every operand: the result's labels, then the summed ones.
  std::vector<int> axes = result;
  for (int l = 0; l < 52; ++l)
    if (count[l] && !kept[l]) axes.push_back(l);
  if (dots && !kept[52]) {
    for (int64_t d = 0; d < dots; ++d) axes.push_back(static_cast<int>(52 + d));
  }
  const int64_t n = static_cast<int64_t>(axes.size());
  FS_CHECK(n <= kMaxRank, "einsum(): at most ", kMaxRank, " different subscripts are supported, got ", n);

  std::vector<Tensor> x;
  std::vector<size_t> last_use(axes.size(), 0);
  Dims sizes = Dims::filled(n, 1);
  for (size_t i = 0; i < operands.size(); ++i) {
    Tensor t = operands[i];
    std::vector<int> labels;  // of t's axes
    const int64_t own = t.dim() - (static_cast<int64_t>(terms[i].labels.size()) - terms[i].ellipsis);
    for (int l : terms[i].labels) {
      if (l != kEllipsis) {
        labels.push_back(l);
        continue;
      }
      for (int64_t d = 0; d < own; ++d) labels.push_back(static_cast<int>(52 + dots - own + d));
    }
    for (size_t p = 0; p < labels.size(); ++p)  // repeated letters: the diagonal
      for (size_t q = labels.size() - 1; q > p; --q) {
        if (labels[p] != labels[q]) continue;
        FS_CHECK(t.size(static_cast<int64_t>(p)) == t.size(static_cast<int64_t>(q)), "einsum(): subscript ",
                 letter_of(labels[p]), " is repeated for operand ", i, " but the sizes don't match, ",
                 t.size(static_cast<int64_t>(q)), " != ", t.size(static_cast<int64_t>(p)));
        t = movedim(diagonal(t, 0, static_cast<int64_t>(p), static_cast<int64_t>(q)), {-1},
                    {static_cast<int64_t>(p)});
        labels.erase(labels.begin() + static_cast<int64_t>(q));
      }
    Dims order;
    std::vector<int64_t> missing;
    for (int64_t a = 0; a < n; ++a) {
      bool found = false;
      for (size_t p = 0; p < labels.size(); ++p)
        if (labels[p] == axes[static_cast<size_t>(a)]) {
          order.push_back(static_cast<int64_t>(p));
          found = true;
        }
      if (!found) missing.push_back(a);
    }
    t = permute(t, order);
    for (int64_t a : missing) t = unsqueeze(t, a);
    for (int64_t a = 0; a < n; ++a) {
      if (t.size(a) == 1) continue;
      if (sizes[a] == 1) sizes[a] = t.size(a);
      const int l = axes[static_cast<size_t>(a)];
      if (l < 52)
        FS_CHECK(sizes[a] == t.size(a), "einsum(): subscript ", letter_of(l), " has size ", t.size(a),
                 " for operand ", i, " which does not broadcast with previously seen size ", sizes[a]);
      else
        FS_CHECK(sizes[a] == t.size(a), "einsum(): the ellipsis has size ", t.size(a), " for operand ", i,
                 " which does not broadcast with previously seen size ", sizes[a]);
      last_use[static_cast<size_t>(a)] = i;
    }
    x.push_back(t);
  }

  const int64_t out_axes = static_cast<int64_t>(result.size());
  Tensor r = x[0];
  for (size_t i = 0; i < x.size(); ++i) {
    std::vector<bool> done(axes.size(), false);
    Dims now;
    for (int64_t a = out_axes; a < n; ++a)
      if (last_use[static_cast<size_t>(a)] <= i) {
        done[static_cast<size_t>(a)] = true;
        if (i == 0 && r.size(a) != 1) now.push_back(a);
      }
    if (i > 0) r = multiply(r, x[i], done);
    else if (!now.empty()) r = sum(r, now, true);
  }
  Dims tail;
  for (int64_t a = out_axes; a < n; ++a) tail.push_back(a);
  return tail.empty() ? (r.impl() == operands[0].impl() ? alias_view(r) : r) : squeeze(r, tail);
}

}  // namespace fireseed
