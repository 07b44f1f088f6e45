// The matrix product of this library: C = alpha A B + beta C (+ bias, ReLU) for any strides; see gemm.cpp for how.
#pragma once

#include <cstdint>

#include "base/half.h"
#include "base/dtype.h"
#include "cpu/scratch.h"

namespace fireseed::cpu::FS_ISA {

// One product. S is the element type of A and B; C, alpha, beta and the biases are of its compute type T (float for
// float, float16 and bfloat16; double for double). Strides are in elements, any sign of zero or positive value.
template <class S>
struct GemmCall {
  using T = compute_type<S>;
  int64_t m, n, k;
  const S* a;  // (m, k)
  int64_t a_row, a_col;
  const S* b;  // (k, n)
  int64_t b_row, b_col;
  T* c;  // (m, n); read only if beta != 0
  int64_t c_row, c_col;
  T alpha = 1, beta = 0;
  const T* bias_col = nullptr;  // n values, one a column
  const T* bias_row = nullptr;  // m values, one a row
  bool relu = false;
  // Halves only: C's values are rounded to here instead (strides as c's), where gemm_rounds(*this).
  S* rounded = nullptr;
};

// Whether a product of halves can be rounded on the way out: it has one block of K, and beta is 0.
template <class S>
bool gemm_rounds(const GemmCall<S>& call);

// Any m, n, k >= 0 (k == 0 gives beta C + bias). May use threads; inside a parallel region it runs alone. The result
// depends on the call alone, not on the number of threads.
void gemm(const GemmCall<float>& call);
void gemm(const GemmCall<double>& call);
void gemm(const GemmCall<float16>& call);
void gemm(const GemmCall<bfloat16>& call);

// `batch` products whose operands are a_batch, b_batch, c_batch elements apart (0: the same operand for all; C's
// must be distinct). Small ones are shared out over the threads whole.
template <class S>
void gemm_batched(const GemmCall<S>& first, int64_t batch, int64_t a_batch, int64_t b_batch, int64_t c_batch);

// Sharing work has a price: results go from one core's cache to the other's. Below kSerialProducts multiplications in
// all (about 10 us) work stays on one thread; above it chunks have about kChunkProducts.
inline constexpr int64_t kSerialProducts = 500000, kChunkProducts = 200000;
// Items of a chunk, of `count` items with `products` >= 0 multiplications each.
constexpr int64_t items_in_chunk(int64_t count, int64_t products) {
  if (products < 1) products = 1;
  if (count <= kSerialProducts / products) return count;
  return products < kChunkProducts ? kChunkProducts / products : 1;
}

// gemm_skinny.cpp: products of few rows (m <= kMaxSkinnyRows). Handles the call and returns true where that is the
// faster way.
inline constexpr int64_t kMaxSkinnyRows = 16;
template <class S>
bool gemm_skinny(const GemmCall<S>& call);

// gemm.cpp: c = relu?(alpha * sum over parts + beta c + bias), `count` parts (m, n) one after the other.
template <class S>
void gemm_combine(const GemmCall<S>& call, const compute_type<S>* parts, int64_t count);

// Splits `total` into `parts` near-equal pieces: the first element of piece i.
inline int64_t piece_begin(int64_t total, int64_t parts, int64_t i) {
  const int64_t base = total / parts, extra = total % parts;
  return i * base + (i < extra ? i : extra);
}

}  // namespace fireseed::cpu::FS_ISA
