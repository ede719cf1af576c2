// Split-K, first launch: grid (rows, blocks of 16 heads, split_k), 256 threads. A workgroup walks its share of the row's tiles and leaves the
// sums as they are, with their maximum, for split_reduce.hip to merge. Partials are fp32; bf16 halves the traffic and shows what it costs.
#if defined(__gfx950__)
#include "base_tile.h"

using namespace base;

template <typename Partial> __device__ __forceinline__ void split_partial(Shared& lds, const DecodeParams& p) {
  const int tid = threadIdx.x, row = blockIdx.x, head0 = blockIdx.y * BLOCK_HEADS, split = blockIdx.z;
  const Online state = attend(lds, p, row, head0, split, p.split_k, tid);

  const int wave = uniform(tid / WAVE_SIZE), lane = tid % WAVE_SIZE, column = lane % 16, group = lane / 16;
  const int64_t first_head = static_cast<int64_t>(row * p.split_k + split) * p.heads; // of this row and split
  // An empty share still says so (sum 0): the reduction must not believe what an earlier launch left in the workspace.
  if (tid < BLOCK_HEADS && head0 + tid < p.heads)
    store_unaligned(p.partial_ml + (first_head + head0 + tid) * 2, f32x2{state.max, state.sum});
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
}

extern "C" __global__ __launch_bounds__(THREADS, WAVES_PER_SIMD) void mla_decode_split_partial_f32(const DecodeParams p) {
  __shared__ Shared lds;
  split_partial<float>(lds, p);
}

extern "C" __global__ __launch_bounds__(THREADS, WAVES_PER_SIMD) void mla_decode_split_partial_bf16(const DecodeParams p) {
  __shared__ Shared lds;
  split_partial<bf16>(lds, p);
}
#endif
