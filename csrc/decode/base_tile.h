// The base design: sparse-MLA decode by four waves that meet at a barrier between every two steps.
//
// The idea. One workgroup of 256 threads takes one row (a query token) and a block of 16 heads, the height of an MFMA tile. Keys
// and values are the same 512 numbers of a cached token and all heads share them, so a tile of 32 tokens is gathered and
// dequantised to bf16 in LDS once and then read twice: along its rows as K for the scores, down its columns as V for the output.
// For each tile:
//   gather   all threads: 8 threads a token, one per 64 dims; fp8 * scale -> bf16 -> LDS (RoPE is stored as bf16: just copied)
//   barrier
//   QK       wave 0 alone: scores[16 heads][32 tokens] = Q K^T, two chains of 16 MFMAs -> LDS; the three other waves wait
//   barrier
//   softmax  every wave, the same work four times: then each has P in the very registers in which MFMA wants its A operand
//   PV       each wave owns 128 of the 512 output dims, 8 MFMA tiles of 16: out = out * alpha + P V
//   barrier  nobody may overwrite the tile before all have read it
//
// The layout. LDS holds Q [16][512] bf16 (16 KiB), the tile [32][512] bf16 (32 KiB), scores [16][32] fp32 and 32 validity words:
// 50.1 KiB, so three workgroups fit a CU. The accumulator [16][512] fp32 is spread over the registers of the four waves.
//
// The price. No step overlaps another; fp8 is converted one byte at a time; softmax is done four times; rows of the tile are
// 1,024 bytes apart, so that 16 lanes which read the same columns of 16 rows all hit the same four banks; a value column is
// fetched two bytes at a time. Later kernels take these away one by one.
#pragma once
#include "common.h"

namespace base {

constexpr int THREADS = 256;
constexpr int WAVES_PER_SIMD = 3; // what LDS allows; the compiler may use 512 / 3 registers
constexpr int BLOCK_HEADS = 16;   // rows of an MFMA tile
constexpr int TILE_TOKENS = 32;   // the k extent of one PV MFMA
constexpr int DIMS_PER_WAVE = HEAD_DIM / (THREADS / WAVE_SIZE);
constexpr int OUT_TILES = DIMS_PER_WAVE / 16;
constexpr int THREADS_PER_TOKEN = THREADS / TILE_TOKENS;

static_assert(THREADS_PER_TOKEN == GROUPS + 1 && GROUP_DIM == ROPE_DIM, "a thread takes one fp8 group, or the RoPE part");
static_assert(DATA_BYTES == NOPE_DIM + 2 * ROPE_DIM && NOPE_DIM == GROUPS * GROUP_DIM, "fp8 dims first, then bf16 dims");

struct Shared {
  alignas(16) bf16 q[BLOCK_HEADS][HEAD_DIM];
  alignas(16) bf16 kv[TILE_TOKENS][HEAD_DIM];
  alignas(16) float scores[BLOCK_HEADS][TILE_TOKENS]; // log2 domain, -inf where invalid
  int valid[TILE_TOKENS];
};

// What a lane keeps from tile to tile. Lane l of wave w holds
//   acc[n][r]  of head 4 (l / 16) + r, dim 128 w + 16 n + l % 16
//   max, sum   of head l % 16; four lanes of each wave hold the same
struct Online {
  f32x4 acc[OUT_TILES];
  float max, sum;
};

__device__ __forceinline__ Span span_of(const List& list, int row) {
  if (list.indptr == nullptr)
    return {nullptr, 0};
  const int begin = list.indptr[row];
  return {list.indices + begin, list.indptr[row + 1] - begin};
}

__device__ __forceinline__ int tiles_in(int length) { return (length + TILE_TOKENS - 1) / TILE_TOKENS; }

__device__ __forceinline__ void stage_q(Shared& lds, const DecodeParams& p, int row, int head0, int tid) { // phase: load q
  constexpr int PIECES = HEAD_DIM / 8; // 16-byte pieces of a head
  const bf16* const q = p.q + row * p.q_row_stride;
#pragma unroll
  for (int i = 0; i < BLOCK_HEADS * PIECES / THREADS; ++i) {
    const int piece = THREADS * i + tid, head = piece / PIECES, dim = piece % PIECES * 8;
    bf16x8 value = {};
    if (head0 + head < p.heads)
      value = load_unaligned<bf16x8>(q + (head0 + head) * p.q_head_stride + dim);
    *reinterpret_cast<bf16x8*>(&lds.q[head][dim]) = value;
  }
}

__device__ __forceinline__ bf16x8 dequantise(uint32_t low, uint32_t high, float scale) { // phase: dequantise
  const f32x4 a = {cvt_f32_fp8<0>(low), cvt_f32_fp8<1>(low), cvt_f32_fp8<2>(low), cvt_f32_fp8<3>(low)};
  const f32x4 b = {cvt_f32_fp8<0>(high), cvt_f32_fp8<1>(high), cvt_f32_fp8<2>(high), cvt_f32_fp8<3>(high)};
  return __builtin_convertvector(__builtin_shufflevector(a * scale, b * scale, 0, 1, 2, 3, 4, 5, 6, 7), bf16x8);
}

// Thread tid brings 64 dims of token tid / 8 into the tile. A token past the end of the list, or with a slot outside the cache,
// becomes zeros without its memory being touched: 0 * NaN is NaN, so a zero probability would not keep a poisoned record out.
__device__ __forceinline__ void gather(Shared& lds, const Segment& segment, Span span, int tile, int tid) { // phase: gather
  const int token = tid / THREADS_PER_TOKEN, part = tid % THREADS_PER_TOKEN;
  const int position = tile * TILE_TOKENS + token;
  const int slot = position < span.length ? span.slots[position] : -1;
  const bool valid = slot >= 0 && slot < segment.num_slots;
  if (part == 0)
    lds.valid[token] = valid;

  bf16x8* const out = reinterpret_cast<bf16x8*>(&lds.kv[token][part * GROUP_DIM]);
  if (!valid) {
#pragma unroll
    for (int i = 0; i < 8; ++i)
      out[i] = bf16x8{};
    return;
  }
  const uint32_t block = static_cast<uint32_t>(slot) / static_cast<uint32_t>(segment.block_size);
  const uint32_t place = static_cast<uint32_t>(slot) % static_cast<uint32_t>(segment.block_size);
  const uint8_t* const records = segment.cache + static_cast<int64_t>(block) * segment.block_stride;
  const uint8_t* const data = records + static_cast<int64_t>(place) * DATA_BYTES + part * GROUP_DIM;
  u32x4 raw[8];
  if (part < GROUPS) {
    const uint8_t* const scales =
        records + static_cast<int64_t>(segment.block_size) * DATA_BYTES + static_cast<int64_t>(place) * SCALE_BYTES;
    const float scale = scale_from_ue8m0(scales[part]);
#pragma unroll
    for (int i = 0; i < 4; ++i)
      raw[i] = load_unaligned<u32x4>(data + 16 * i);
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      out[2 * i] = dequantise(raw[i][0], raw[i][1], scale);
      out[2 * i + 1] = dequantise(raw[i][2], raw[i][3], scale);
    }
  } else {
#pragma unroll
    for (int i = 0; i < 8; ++i)
      raw[i] = load_unaligned<u32x4>(data + 16 * i);
#pragma unroll
    for (int i = 0; i < 8; ++i)
      out[i] = __builtin_bit_cast(bf16x8, raw[i]);
  }
}

// One wave: scores of 16 heads against 32 tokens, scaled to the log2 domain.
__device__ __forceinline__ void score(Shared& lds, float scale_log2, int lane) { // phase: QK
  const int column = lane % 16, group = lane / 16;
  f32x4 scores[2] = {};
#pragma unroll
  for (int step = 0; step < HEAD_DIM / 32; ++step) {
    const int dim = 32 * step + 8 * group;
    const bf16x8 q = *reinterpret_cast<const bf16x8*>(&lds.q[column][dim]);
#pragma unroll
    for (int half = 0; half < 2; ++half)
      scores[half] = mfma_16x16x32(q, *reinterpret_cast<const bf16x8*>(&lds.kv[16 * half + column][dim]), scores[half]);
  }
#pragma unroll
  for (int half = 0; half < 2; ++half) {
    const int token = 16 * half + column;
    const bool valid = lds.valid[token];
#pragma unroll
    for (int r = 0; r < 4; ++r)
      lds.scores[4 * group + r][token] = valid ? scores[half][r] * scale_log2 : -__builtin_inff();
  }
}

// The online softmax of head lane % 16 over tokens 8 (lane / 16) .. + 7: raises the maximum, rescales the sums, returns P.
__device__ __forceinline__ bf16x8 softmax(const Shared& lds, Online& state, int lane) { // phase: softmax
  const int head = lane % 16, group = lane / 16;
  const f32x4* const row = reinterpret_cast<const f32x4*>(&lds.scores[head][8 * group]);
  const f32x4 low = row[0], high = row[1];
  float tile_max = state.max;
#pragma unroll
  for (int i = 0; i < 4; ++i)
    tile_max = __builtin_fmaxf(tile_max, __builtin_fmaxf(low[i], high[i]));
  tile_max = __builtin_fmaxf(tile_max, from_lane(tile_max, lane ^ 16));
  tile_max = __builtin_fmaxf(tile_max, from_lane(tile_max, lane ^ 32));
  const float alpha = exp2_approx(state.max - tile_max);
  state.max = tile_max;

  bf16x8 p;
  float sum = 0.0f;
#pragma unroll
  for (int i = 0; i < 8; ++i) {
    p[i] = static_cast<bf16>(exp2_approx((i < 4 ? low[i % 4] : high[i % 4]) - tile_max));
    // Sum what PV will multiply, not what it was rounded from: then the weights of a row add up to one, whatever the rounding.
    sum += static_cast<float>(p[i]);
  }
  sum += from_lane(sum, lane ^ 16);
  sum += from_lane(sum, lane ^ 32);
  state.sum = state.sum * alpha + sum;
#pragma unroll
  for (int r = 0; r < 4; ++r) {
    const float head_alpha = from_lane(alpha, 4 * group + r); // accumulators are laid out by other heads than scores
#pragma unroll
    for (int n = 0; n < OUT_TILES; ++n)
      state.acc[n][r] *= head_alpha;
  }
  return p;
}

__device__ __forceinline__ void accumulate(const Shared& lds, Online& state, bf16x8 p, int wave, int lane) { // phase: PV
  const int column = lane % 16, group = lane / 16;
#pragma unroll
  for (int n = 0; n < OUT_TILES; ++n) {
    bf16x8 v;
#pragma unroll
    for (int t = 0; t < 8; ++t)
      v[t] = lds.kv[8 * group + t][DIMS_PER_WAVE * wave + 16 * n + column];
    state.acc[n] = mfma_16x16x32(p, v, state.acc[n]);
  }
}

// Attends row `row`, heads head0 .. head0 + 15, to the share `split` of `splits` of the row's tiles (main tiles first, then extra
// tiles). Shares depend on the row's own lengths and on `splits` only, so a row's bits do not change with the batch around it.
__device__ __forceinline__ Online attend(Shared& lds, const DecodeParams& p, int row, int head0, int split, int splits, int tid) {
  const int wave = uniform(tid / WAVE_SIZE), lane = tid % WAVE_SIZE; // phase: none
  const Span main = span_of(p.main_list, row), extra = span_of(p.extra_list, row);
  const int main_tiles = tiles_in(main.length), tiles = main_tiles + tiles_in(extra.length);
  const int begin = split * tiles / splits, end = (split + 1) * tiles / splits;
  const float scale_log2 = p.scale * LOG2_E;

  Online state = {};
  state.max = NO_MAX;
  if (begin < end)
    stage_q(lds, p, row, head0, tid);
  for (int tile = begin; tile < end; ++tile) {
    const bool in_main = tile < main_tiles;
    gather(lds, in_main ? p.main : p.extra, in_main ? main : extra, in_main ? tile : tile - main_tiles, tid);
    __syncthreads();
    if (wave == 0)
      score(lds, scale_log2, lane);
    __syncthreads();
    const bf16x8 probabilities = softmax(lds, state, lane);
    accumulate(lds, state, probabilities, wave, lane);
    __syncthreads();
  }
  return state;
}

// 1 / (sum + sink). The sink is one more, valueless, entry of the softmax: it enters the denominator once, after everything is
// merged. An infinite denominator (sink = +inf) gives 0; a head that attended nothing gives 0 and not 0 / 0.
__device__ __forceinline__ float inverse_denominator(const DecodeParams& p, int head, float max, float sum) {
  if (sum == 0.0f)
    return 0.0f;
  if (p.attn_sink != nullptr && head < p.heads)
    sum += exp2_approx(p.attn_sink[head] * LOG2_E - max);
  return rcp_approx(sum);
}

} // namespace base
