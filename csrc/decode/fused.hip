// The whole decode in one launch: grid (rows, blocks of 16 heads), 256 threads. Every workgroup walks all tiles of its row and
// writes the normalised output itself. Best when rows x head blocks fill the chip; split_partial.hip is for when they do not.
#if defined(__gfx950__)
#include "base_tile.h"

using namespace base;

extern "C" __global__ __launch_bounds__(THREADS, WAVES_PER_SIMD) void mla_decode_fused(const DecodeParams p) {
  __shared__ Shared lds;
  const int tid = threadIdx.x, row = blockIdx.x, head0 = blockIdx.y * BLOCK_HEADS;
  const Online state = attend(lds, p, row, head0, 0, 1, tid);

  const int wave = uniform(tid / WAVE_SIZE), lane = tid % WAVE_SIZE, column = lane % 16, group = lane / 16; // phase: store
  if (p.lse != nullptr && tid < BLOCK_HEADS && head0 + tid < p.heads)
    p.lse[static_cast<int64_t>(row) * p.heads + head0 + tid] = log_sum_exp(state.max, state.sum);
  const float inverse = inverse_denominator(p, head0 + column, state.max, state.sum);
#pragma unroll
  for (int r = 0; r < 4; ++r) {
    const int head = head0 + 4 * group + r;
    const float head_inverse = from_lane(inverse, 4 * group + r);
    if (head >= p.heads)
      continue;
    bf16* const out = p.out + row * p.out_row_stride + head * p.out_head_stride + DIMS_PER_WAVE * wave + column;
#pragma unroll
    for (int n = 0; n < OUT_TILES; ++n)
      out[16 * n] = static_cast<bf16>(state.acc[n][r] * head_inverse);
  }
}
#endif
