// Split-K, first launch: grid (rows, blocks of 16 heads, split_k), 256 threads. A workgroup walks its share of the row's tiles
// and leaves its sums, not normalised, with their maximum, for split_reduce.hip to merge. Partials are fp32; the bf16 option
// halves their traffic and shows what that costs in accuracy.
#if defined(__gfx950__)
#include "base_tile.h"

using namespace base;

template <typename Partial> __device__ __forceinline__ void split_partial(Shared& lds, const DecodeParams& p) {
  const int tid = threadIdx.x, row = blockIdx.x, head0 = blockIdx.y * BLOCK_HEADS, split = blockIdx.z;
  const Online state = attend(lds, p, row, head0, split, p.split_k, tid);

  const int wave = uniform(tid / WAVE_SIZE), lane = tid % WAVE_SIZE, column = lane % 16, group = lane / 16; // phase: store
  const int64_t first_head = static_cast<int64_t>(row * p.split_k + split) * p.heads; // of this row and split
  // Always written: the reduction must not believe what an earlier launch left here. A sum of 0 says that nothing was attended.
  if (tid < BLOCK_HEADS && head0 + tid < p.heads)
    store_unaligned(p.partial_ml + (first_head + head0 + tid) * 2, f32x2{state.max, state.sum});
  if (__builtin_amdgcn_ballot_w64(state.sum != 0.0f) == 0)
    return; // and then nobody reads the accumulators
#pragma unroll
  for (int r = 0; r < 4; ++r) {
    const int head = head0 + 4 * group + r;
    if (head >= p.heads)
      continue;
    Partial* const out = static_cast<Partial*>(p.partial_acc) + (first_head + head) * HEAD_DIM + DIMS_PER_WAVE * wave + column;
#pragma unroll
    for (int n = 0; n < OUT_TILES; ++n)
      out[16 * n] = static_cast<Partial>(state.acc[n][r]);
  }
} // phase: none

extern "C" __global__ __launch_bounds__(THREADS, WAVES_PER_SIMD) void mla_decode_split_partial_f32(const DecodeParams p) {
  __shared__ Shared lds;
  split_partial<float>(lds, p);
}

extern "C" __global__ __launch_bounds__(THREADS, WAVES_PER_SIMD) void mla_decode_split_partial_bf16(const DecodeParams p) {
  __shared__ Shared lds;
  split_partial<bf16>(lds, p);
}
#endif
