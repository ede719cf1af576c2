// Step 2, MFMA: scores on the matrix unit, and so 16 heads at once.
//
// The idea. All heads of a row read the same tokens, so Q K^T is a matrix product: v_mfma_f32_16x16x32_bf16 multiplies 16 heads
// and 16 tokens over 32 dims, 16,384 FLOP in 16 clocks, where a VALU instruction does 128 in 4 (fp32). A record now serves 16
// heads. Only the scores are on the matrix unit. The output is still summed as in step 1, 8 dims a lane, but for 16 heads.
//
// The layout. A wave takes a row and 16 heads. MFMA wants of lane 16 g + m: of A (Q) head m, of B (K) token m, dims 8 g .. + 7 of
// 32; it gives back token m, heads 4 g .. + 3. So Q lies in 64 registers, ready; a lane brings 8 bytes of its token for each
// MFMA. The scores of a tile of 32 tokens pass through LDS, because the softmax wants a head's scores in few lanes. Sums: [16
// heads][8 dims], 128 registers.
//
// The price. Each record is brought and converted twice, once for K and once for V, the second time one token after the other,
// each of them waited for. And PV is on the VALU: 2,048 packed multiply-adds a tile, for what 32 MFMAs do in step 3.
//
// The gain. 69,632 instructions a tile become 7,289, 1,139 us become 950. Time falls less than work because the 16 heads were 16
// waves on 16 SIMDs, and are one wave now.
#if defined(__gfx950__)
#include "ladder.h"

namespace ladder {

typedef float f32x8 __attribute__((ext_vector_type(8)));
constexpr int Q_STEPS = HEAD_DIM / 32;

struct Scores {
  alignas(16) float score[BLOCK_HEADS][TILE_TOKENS];
  alignas(16) float weight[TILE_TOKENS][BLOCK_HEADS];
};

// Dims dim .. dim + 7 of a token, bf16.
__device__ __forceinline__ bf16x8 values_of(Record record, int dim) { // phase: dequantise
  if (record.data == nullptr)
    return bf16x8{};
  if (dim >= NOPE_DIM)
    return load_unaligned<bf16x8>(record.data + ROPE_OFFSET + 2 * (dim - NOPE_DIM));
  const u32x2 raw = load_unaligned<u32x2>(record.data + dim);
  return dequantise(raw[0], raw[1], scale_from_ue8m0(record.scales[dim / GROUP_DIM]));
}

__device__ __forceinline__ void score(Scores& lds, const bf16x8 (&q)[Q_STEPS], const Segment& segment, Span span, int first,
                                      float scale_log2, int lane) { // phase: QK
  const int m = lane % 16, g = lane / 16;
#pragma unroll 1
  for (int half = 0; half < TILE_TOKENS; half += 16) {
    const Record record = record_of(segment, span, first + half + m);
    f32x4 scores = {};
#pragma unroll
    for (int step = 0; step < Q_STEPS; ++step)
      scores = mfma_16x16x32(q[step], values_of(record, 32 * step + 8 * g), scores);
#pragma unroll
    for (int r = 0; r < 4; ++r)
      lds.score[4 * g + r][half + m] = record.data != nullptr ? scores[r] * scale_log2 : -__builtin_inff();
  }
}

// Dims 8 lane .. + 7 of all heads, a token after the other.
__device__ __forceinline__ void accumulate(f32x8 (&acc)[BLOCK_HEADS], const Scores& lds, const Segment& segment, Span span,
                                           int first,
                                           int lane) { // phase: PV
#pragma unroll 1
  for (int token = 0; token < TILE_TOKENS; ++token) {
    const f32x8 value = __builtin_convertvector(values_of(record_of(segment, span, first + token), 8 * lane), f32x8);
#pragma unroll
    for (int head = 0; head < BLOCK_HEADS; ++head)
      acc[head] += value * lds.weight[token][head];
  }
}

} // namespace ladder

extern "C" __global__ __launch_bounds__(WAVE_SIZE, 1) void mla_ladder_mfma(const DecodeParams p) { // phase: none
  using namespace ladder;
  __shared__ Scores lds;
  const int lane = threadIdx.x, row = blockIdx.x, head0 = blockIdx.y * BLOCK_HEADS, m = lane % 16, g = lane / 16;
  bf16x8 q[Q_STEPS];
  const bf16* const of_head = p.q + row * p.q_row_stride + min(head0 + m, p.heads - 1) * p.q_head_stride; // phase: load q
#pragma unroll
  for (int step = 0; step < Q_STEPS; ++step)
    q[step] = load_unaligned<bf16x8>(of_head + 32 * step + 8 * g);
  const Span main = span_of(p.main_list, row), extra = span_of(p.extra_list, row); // phase: none
  const int main_tiles = tiles_in(main.length), tiles = main_tiles + tiles_in(extra.length);
  f32x8 acc[BLOCK_HEADS] = {};
  float max = NO_MAX, sum = 0.0f;
  for (int tile = 0; tile < tiles; ++tile) {
    const bool in_main = tile < main_tiles;
    const Segment& segment = in_main ? p.main : p.extra;
    const Span span = in_main ? main : extra;
    const int first = (in_main ? tile : tile - main_tiles) * TILE_TOKENS;
    score(lds, q, segment, span, first, p.scale * LOG2_E, lane);
    __syncthreads(); // one wave: only says to the compiler that LDS has what was written
    const f32x4* const scores = reinterpret_cast<const f32x4*>(&lds.score[m][8 * g]); // phase: softmax
    float alpha;
    const bf16x8 weights = weigh(scores[0], scores[1], max, sum, alpha, lane);
#pragma unroll
    for (int i = 0; i < 8; ++i)
      lds.weight[8 * g + i][m] = static_cast<float>(weights[i]);
    __syncthreads();
#pragma unroll
    for (int head = 0; head < BLOCK_HEADS; ++head)
      acc[head] *= broadcast_lane(alpha, head);
    accumulate(acc, lds, segment, span, first, lane);
  }
  if (p.lse != nullptr && lane < BLOCK_HEADS && head0 + lane < p.heads) // phase: store
    p.lse[static_cast<int64_t>(row) * p.heads + head0 + lane] = log_sum_exp(max, sum);
  const float inverse = inverse_denominator(p, head0 + m, max, sum);
  bf16* const out = p.out + row * p.out_row_stride + head0 * p.out_head_stride + 8 * lane;
#pragma unroll
  for (int head = 0; head < BLOCK_HEADS; ++head)
    if (head0 + head < p.heads)
      store_unaligned(out + head * p.out_head_stride, __builtin_convertvector(acc[head] * broadcast_lane(inverse, head), bf16x8));
}
#endif
