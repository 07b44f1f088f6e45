// Kernels that copy elements to other places: cat, flip, roll, repeat, tril, triu, repeat_interleave, one_hot.
#include "tensor/attrs/move.h"

#include "cpu/index_util.h"

namespace fireseed::cpu::FS_ISA {
namespace {

// Dense inputs side by side: out[r] = [in_0[r] | in_1[r] | ...] for `outer` rows.
template <class T>
void cat_dense(const KernelArgs& args, int64_t dim) {
  const TensorView& out = args.out[0];
  T* o = out.ptr<T>();
  int64_t outer = 1, inner = 1;
  for (int64_t d = 0; d < dim; ++d) outer *= out.sizes[d];
  for (int64_t d = dim + 1; d < out.ndim; ++d) inner *= out.sizes[d];
  const int64_t total = out.sizes[dim] * inner;
  if (outer == 1) {
    int64_t at = 0;
    for (int j = 0; j < args.num_in; ++j) {
      const T* s = args.in[j].ptr<const T>();
      T* to = o + at;
      parallel_for(args.in[j].numel, 4 * kMoveChunk,
                   [&](int64_t b, int64_t e) { copy_run(to + b, 1, s + b, 1, e - b); });
      at += args.in[j].numel;
    }
    return;
  }
  // Blocks of rows stay in the cache while each input's part is filled in.
  const int64_t block = max_of(1, 4096 / total);
  parallel_for(outer, max_of(block, kMoveChunk / total), [&](int64_t begin, int64_t end) {
    for (int64_t r0 = begin; r0 < end; r0 += block) {
      const int64_t r1 = min_of(end, r0 + block);
      int64_t at = 0;
      for (int j = 0; j < args.num_in; ++j) {
        const int64_t n = args.in[j].sizes[dim] * inner;
        const T* s = args.in[j].ptr<const T>();
        if (n == 1) {
          for (int64_t r = r0; r < r1; ++r) o[r * total + at] = s[r];
        } else {
          for (int64_t r = r0; r < r1; ++r) copy_run(o + r * total + at, 1, s + r * n, 1, n);
        }
        at += n;
      }
    }
  });
}

// A part of `out`, of the sizes of `in`, that starts at offset `to` and receives `in`.
template <class T>
void copy_part(T* to, const int64_t* out_strides, const T* from, const int64_t* in_strides, const int64_t* sizes,
               int rank) {
  Loop<2> loop;
  for (int d = 0; d < rank; ++d) loop.dim(sizes[d], {out_strides[d], in_strides[d]});
  if (loop.numel > 0) copy_loop(to, from, loop);
}

}  // namespace

// in: n tensors equal but in size along attrs.dim; out: them one after the other along it.
void cat(const KernelArgs& args) {
  const int64_t dim = args.attrs<CatAttrs>().dim;
  const TensorView& out = args.out[0];
  if (out.numel == 0) return;
  bool dense = out.contiguous;
  for (int j = 0; j < args.num_in; ++j) dense = dense && (args.in[j].contiguous || args.in[j].numel == 0);
  dispatch_size(out.dtype, [&](auto tag) {
    using T = typename decltype(tag)::type;
    if (dense) return cat_dense<T>(args, dim);
    T* o = out.ptr<T>();
    for (int j = 0; j < args.num_in; ++j) {
      const TensorView& in = args.in[j];
      copy_part(o, out.strides, in.ptr<const T>(), in.strides, in.sizes, in.ndim);
      o += in.sizes[dim] * out.strides[dim];
    }
  });
}

// out: in with the dimensions of attrs.mask reversed.
void flip(const KernelArgs& args) {
  const int64_t mask = args.attrs<FlipAttrs>().mask;
  const TensorView &in = args.in[0], &out = args.out[0];
  if (out.numel == 0) return;
  dispatch_size(out.dtype, [&](auto tag) {
    using T = typename decltype(tag)::type;
    const T* from = in.ptr<const T>();
    int64_t strides[kMaxRank];
    for (int d = 0; d < in.ndim; ++d) {
      const bool reversed = (mask >> d) & 1;
      strides[d] = reversed ? -in.strides[d] : in.strides[d];
      if (reversed) from += (in.sizes[d] - 1) * in.strides[d];
    }
    copy_part(out.ptr<T>(), out.strides, from, strides, in.sizes, in.ndim);
  });
}

// out[(i + shift) mod n] = in[i] in each dimension.
void roll(const KernelArgs& args) {
  const RollAttrs& a = args.attrs<RollAttrs>();
  const TensorView &in = args.in[0], &out = args.out[0];
  if (out.numel == 0) return;
  int rolled[kMaxRank], n = 0;
  for (int d = 0; d < in.ndim; ++d)
    if (a.shifts[d] != 0) rolled[n++] = d;
  dispatch_size(out.dtype, [&](auto tag) {
    using T = typename decltype(tag)::type;
    // Each rolled dimension falls into [0, size - shift) and [size - shift, size): 2^n boxes.
    for (int64_t box = 0; box < (int64_t{1} << n); ++box) {
      int64_t sizes[kMaxRank];
      for (int d = 0; d < in.ndim; ++d) sizes[d] = in.sizes[d];
      const T* from = in.ptr<const T>();
      T* to = out.ptr<T>();
      for (int j = 0; j < n; ++j) {
        const int d = rolled[j];
        const int64_t shift = a.shifts[d], head = in.sizes[d] - shift;
        if ((box >> j) & 1) {
          from += head * in.strides[d];
          sizes[d] = shift;
        } else {
          to += shift * out.strides[d];
          sizes[d] = head;
        }
      }
      copy_part(to, out.strides, from, in.strides, sizes, in.ndim);
    }
  });
}

// out: in tiled attrs.repeats[d] times along each dimension of out (in may have fewer, leading ones are added).
void repeat(const KernelArgs& args) {
  const RepeatAttrs& a = args.attrs<RepeatAttrs>();
  const TensorView &in = args.in[0], &out = args.out[0];
  if (out.numel == 0) return;
  Loop<2> loop;
  const int lead = out.ndim - in.ndim;
  for (int d = 0; d < out.ndim; ++d) {
    const int64_t size = d < lead ? 1 : in.sizes[d - lead];
    loop.dim(a.repeats[d], {size * out.strides[d], 0});
    loop.dim(size, {out.strides[d], d < lead ? 0 : in.strides[d - lead]});
  }
  dispatch_size(out.dtype, [&](auto tag) {
    using T = typename decltype(tag)::type;
    copy_loop(out.ptr<T>(), in.ptr<const T>(), loop);
  });
}

namespace {

// Row i of each matrix keeps columns [0, i + k] (lower) or [i + k, n) (upper); the rest is zero.
void triangle(const KernelArgs& args, bool lower) {
  const int64_t k = args.attrs<TriAttrs>().diagonal;
  const TensorView &in = args.in[0], &out = args.out[0];
  if (out.numel == 0) return;
  const int last = in.ndim - 1;
  const int64_t m = in.sizes[last - 1], n = in.sizes[last];
  Loop<2> rows;  // without merging the last of them: its position gives the row's number
  for (int d = 0; d < last; ++d) rows.dim(in.sizes[d], {out.strides[d], in.strides[d]});
  dispatch_size(out.dtype, [&](auto tag) {
    using T = typename decltype(tag)::type;
    T* po = out.ptr<T>();
    const T* px = in.ptr<const T>();
    const int64_t os = out.strides[last], xs = in.strides[last];
    parallel_for(rows.numel, max_of(1, kMoveChunk / n), [&](int64_t begin, int64_t end) {
      int64_t r = begin;
      rows.rows(begin, end, [&](const int64_t (&off)[2], int64_t count) {
        for (int64_t j = 0; j < count; ++j, ++r) {
          const int64_t i = r % m;
          const int64_t cut = lower ? max_of(0, min_of(n, i + k + 1)) : max_of(0, min_of(n, i + k));
          T* o = po + off[0] + j * rows.inner_stride(0);
          const T* x = px + off[1] + j * rows.inner_stride(1);
          if (lower) {
            if (o != x) copy_run(o, os, x, xs, cut);
            fill_run(o + cut * os, os, T(0), n - cut);
          } else {
            fill_run(o, os, T(0), cut);
            if (o != x) copy_run(o + cut * os, os, x + cut * xs, xs, n - cut);
          }
        }
      });
    });
  });
}

}  // namespace

// out: the lower triangle of each matrix of in (rank >= 2), zero above attrs.diagonal.
void tril(const KernelArgs& args) { triangle(args, true); }
// out: the upper triangle of each matrix of in (rank >= 2), zero below attrs.diagonal.
void triu(const KernelArgs& args) { triangle(args, false); }

// in: int64 repeats (n,); out: int64 (sum of repeats,), i repeated repeats[i] times. RuntimeError for a negative one
// or when their sum is not the output's size.
void repeat_interleave(const KernelArgs& args) {
  const Packed<int64_t> repeats(args.in[0]);
  const TensorView& out = args.out[0];
  int64_t total = 0;
  for (int64_t i = 0; i < args.in[0].numel; ++i) {
    const int64_t c = repeats.data()[i];
    if (c < 0)
      fail(ErrorKind::kRuntime, "repeat_interleave: repeats can not be negative, got ", c, " at position ", i);
    total += c;
    if (total > out.numel) break;
  }
  if (total != out.numel) {
    fail(ErrorKind::kRuntime, "repeat_interleave: the sum of repeats does not match output_size ", out.numel);
  }
  if (total == 0) return;
  const PackedOut<int64_t> target(out);
  int64_t* o = target.data();
  for (int64_t i = 0; i < args.in[0].numel; ++i) {
    const int64_t c = repeats.data()[i];
    for (int64_t j = 0; j < c; ++j) *o++ = i;
  }
  target.flush();
}

// in: int64 classes of any shape; out: int64 (shape, C), 1 at the class and 0 elsewhere. RuntimeError for a class
// outside [0, C).
void one_hot(const KernelArgs& args) {
  const TensorView &in = args.in[0], &out = args.out[0];
  if (in.numel == 0) return;
  const int64_t classes = out.sizes[out.ndim - 1];
  const Packed<int64_t> packed(in);
  const int64_t* c = packed.data();
  for (int64_t i = 0; i < in.numel; ++i) {
    if (c[i] < 0) fail(ErrorKind::kRuntime, "one_hot: Class values must be non-negative, got ", c[i]);
    if (c[i] >= classes) {
      fail(ErrorKind::kRuntime, "one_hot: Class values must be smaller than num_classes, got ", c[i],
           " with num_classes ", classes);
    }
  }
  const PackedOut<int64_t> target(out);
  int64_t* o = target.data();
  parallel_for(in.numel, max_of(1, kMoveChunk / classes), [&](int64_t begin, int64_t end) {
    __builtin_memset(o + begin * classes, 0, static_cast<size_t>((end - begin) * classes) * sizeof(int64_t));
    for (int64_t i = begin; i < end; ++i) o[i * classes + c[i]] = 1;
  });
  target.flush();
}

}  // namespace fireseed::cpu::FS_ISA
