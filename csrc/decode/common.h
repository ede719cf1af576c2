// What the base design and the product kernel agree on.
#pragma once
#include "cache_layout.h"
#include "decode_params.h"
#include "gfx950.h"

// Where the running maximum starts. Finite, so that NO_MAX - NO_MAX is 0 and not NaN: a tile with nothing valid changes nothing.
constexpr float NO_MAX = -3.402823466e38f;

// A row's slots in one segment.
struct Span {
  const int32_t* slots;
  int length;
};

// Natural logarithm of a head's denominator, without the sink.
__device__ __forceinline__ float log_sum_exp(float max, float sum) {
  return sum == 0.0f ? -__builtin_inff() : (max + log2_approx(sum)) * LN_2;
}
