// Step 9, private tiles: waves share tokens out among them, not dims, and meet once, at the end.
//
// The idea. Softmax was done four times, because each wave wants the weights of all tokens for its dims. Give each wave whole
// tiles instead, all 512 dims of them: then scores, weights and sums never leave it, and the loop has no barrier. Each wave walks
// its own quarter of the row with a maximum of its own; four partial softmaxes are merged behind the loop (product_merge.h). O^T
// = V^T P^T, not O = P V: the accumulators of a lane then belong to the head that its scores belong to, so that rescaling needs
// no exchange between lanes either. What is left to exchange is the maximum, by two swaps of lanes in place of two trips through
// LDS.
//
// The layout. That of csrc/decode/product_tile.h: all of Q in 64 registers, all of a tile's bytes in 76, 128 for the output; 32
// KiB of LDS a wave for V. Lane 16 g + m: of K tokens m and 16 + m; scores, weights and sums of head m.
//
// The price. One wave a SIMD, one workgroup a CU: nobody runs while a wave waits for memory, and here it waits for each of its
// tiles.
//
// The gain. The largest since step 3: a tile takes well under half the instructions, 608 LDS phases become 384, 65 us 27.
#if defined(__gfx950__)
#include "decode/product_merge.h"

namespace ladder {

using namespace product;

// Which wave this is: of row `row`, heads head0 .. + 15; lane 16 g + m.
struct Worker {
  int row, head0, wave, lane, m, g;
  __device__ __forceinline__ Worker()
      : row(blockIdx.x), head0(blockIdx.y * BLOCK_HEADS), wave(uniform(threadIdx.x / WAVE_SIZE)), lane(threadIdx.x % WAVE_SIZE),
        m(lane % 16), g(lane / 16) {}
};

__device__ __forceinline__ void bring_q(bf16x8 (&q)[Q_PIECES], Shared& lds, const DecodeParams& p,
                                        const Worker& at) { // phase: load q
  leave_q(lds.q, load_q(p, at.row, at.head0 + at.m, at.wave, at.g), at.wave, at.lane);
  __syncthreads();
  take_q(q, lds.q, at.lane);
}

__device__ __forceinline__ void gather(Raw& raw, const Source& source) { // phase: gather
#pragma unroll
  for (int n = 0; n < LOADS; ++n)
    load(raw, source, n);
}

// S^T = K Q^T of 32 tokens and 16 heads; what is K here is V in LDS.
__device__ __forceinline__ void score(f32x4 (&x)[STRIPS], const Raw& raw, const bf16x8 (&q)[Q_PIECES], char* v,
                                      const Worker& at) { // phase: QK
#pragma unroll
  for (int s = 0; s < STRIPS; ++s) {
    x[s] = {};
#pragma unroll
    for (int i = 0; i < Q_PIECES; ++i) { // slots 4 i + g; a piece of fp8 has two of them
      bf16x8 k;
      if (i < 2 * GROUPS) {
        const int piece = i / 2;
        const float scale = __builtin_bit_cast(float, raw.scale[s][piece / 4] >> (piece % 4 * 8) << 23);
        k = dequantise(raw.data[s][piece][i % 2 * 2], raw.data[s][piece][i % 2 * 2 + 1], scale);
      } else
        k = __builtin_bit_cast(bf16x8, raw.data[s][i - GROUPS]);
      *reinterpret_cast<bf16x8*>(v + (16 * s + at.m) * ROW_BYTES + 16 * ((4 * i + at.g) ^ bank_key(at.m))) = k;
      x[s] = mfma_16x16x32(k, q[i], x[s]);
    }
  }
  __builtin_amdgcn_wave_barrier(); // the compiler must not exchange writes and transposed reads
}

// The softmax of a tile: raises the maximum, rescales sums, gives P^T. Of the sum of weights a lane keeps its own tokens' part.
__device__ __forceinline__ bf16x8 weigh(Online& state, f32x4 (&x)[STRIPS], uint32_t valid, float scale_log2,
                                        const Worker& at) { // phase: softmax
  float most = NO_MAX;
#pragma unroll
  for (int i = 0; i < 8; ++i) {
    float& score = reinterpret_cast<float (&)[8]>(x)[i];
    score = valid >> (16 * (i / 4) + 4 * at.g + i % 4) & 1 ? score * scale_log2 : -__builtin_inff();
    most = __builtin_fmaxf(most, score);
  }
  const float raised = __builtin_fmaxf(state.max, max_of_head(most)), alpha = exp2_approx(state.max - raised);
  state.max = raised;
  bf16x8 weights;
  float sum = 0.0f;
#pragma unroll
  for (int i = 0; i < 8; ++i) {
    weights[i] = static_cast<bf16>(exp2_approx(x[i / 4][i % 4] - raised));
    sum += static_cast<float>(weights[i]);
  }
  state.sum[0] = state.sum[0] * alpha + sum;
#pragma unroll
  for (int n = 0; n < OUT_TILES; ++n)
    state.acc[n] *= alpha;
  return weights;
}

// O^T += V^T P^T. V is read AHEAD products before its turn; left alone, the compiler may read just in time, and wait for each.
__device__ __forceinline__ void accumulate(Online& state, const char* v, bf16x8 weights, const Worker& at) { // phase: PV
  const int row = 4 * at.g + at.m / 4;
  const auto value = [&](int n) {
    const char* const mine = v + row * ROW_BYTES + 16 * ((2 * n + at.m / 2 % 2) ^ bank_key(row)) + at.m % 2 * 8;
    return __builtin_shufflevector(read_transposed(mine), read_transposed(mine + 16 * ROW_BYTES), 0, 1, 2, 3, 4, 5, 6, 7);
  };
  bf16x8 ahead[AHEAD];
#pragma unroll
  for (int n = 0; n < AHEAD; ++n)
    ahead[n] = value(n);
#pragma unroll
  for (int n = 0; n < OUT_TILES; ++n) {
    __builtin_amdgcn_sched_barrier(0);
    state.acc[n] = mfma_16x16x32(ahead[n % AHEAD], weights, state.acc[n]);
    if (n + AHEAD < OUT_TILES)
      ahead[n % AHEAD] = value(n + AHEAD);
  }
  __builtin_amdgcn_wave_barrier();
}

// The heads that a wave has of the workgroup's result, and their parts merged.
struct Merged {
  int first, heads;
  Part parts[HEADS_PER_WAVE];
};

__device__ __forceinline__ Merged merge(Shared& lds, const DecodeParams& p, Online& state, const Worker& at) { // phase: merge
  state.sum[0] += from_lane(state.sum[0], at.lane ^ 16);
  state.sum[0] += from_lane(state.sum[0], at.lane ^ 32);
  leave(lds, state, at.wave, at.lane);
  __syncthreads();
  Merged merged;
  merged.first = HEADS_PER_WAVE * at.wave;
  merged.heads = min(HEADS_PER_WAVE, p.heads - at.head0 - merged.first);
  merge_waves(merged.parts, lds, merged.first, at.lane);
  return merged;
}

__device__ __forceinline__ void finish_row(Shared& lds, const DecodeParams& p, Online& state, const Worker& at) { // phase: merge
  const float sink = sink_of(p, at.head0 + at.m);
  const Merged merged = merge(lds, p, state, at);
#pragma unroll
  for (int i = 0; i < HEADS_PER_WAVE; ++i)
    if (i < merged.heads)
      finish(p, at.row, at.head0 + merged.first + i, merged.parts[i], broadcast_lane(sink, merged.first + i), at.lane);
}

} // namespace ladder

#if __INCLUDE_LEVEL__ == 0
extern "C" __global__ __launch_bounds__(256, 1) void mla_ladder_private(const DecodeParams p) { // phase: none
  using namespace ladder;
  __shared__ Shared lds;
  const Worker at;
  const Row work = row_of(p, ends_of(p, at.row));
  bf16x8 q[Q_PIECES];
  bring_q(q, lds, p, at);
  Online state = {};
  state.max = NO_MAX;
  for (int tile = at.wave; tile < work.tiles; tile += WAVES) {
    Listed listed;
    fetch_slots(listed, work, tile, at.m);
    const Source source = locate(work, tile, listed, at.m, at.g);
    Raw raw;
    gather(raw, source);
    f32x4 x[STRIPS];
    score(x, raw, q, lds.tile[at.wave], at);
    const bf16x8 weights = weigh(state, x, source.valid, p.scale * LOG2_E, at);
    accumulate(state, lds.tile[at.wave], weights, at);
  }
  finish_row(lds, p, state, at);
}
#endif
#endif
