// What the product kernels share, and what a wave of private tiles needs (steps 9 to 11 of the ladder): a wave that takes whole
// tiles of 32 tokens for itself.
//
//   K goes from memory straight into the registers in which MFMA wants it: a lane brings 16 bytes of one token at a time, and the
//     order in which dims meet is free as long as Q comes in the same one. fp8 pairs become bf16 pairs in one scaled conversion.
//   S^T = K Q^T, not S = Q K^T: a lane then holds scores of one head only, and no value changes lanes.
//
// The layout. Lane l = 16 g + m. K: token m of 16, dims as `dim_of_slot` says. V in LDS: [32 tokens][64 slots of 8 dims] bf16,
// slots of token t exchanged by XOR with `bank_key(t)`: 8 lanes that write the same slot of 8 tokens fill all 32 write banks, and
// 32 lanes that read two slots of 8 tokens all 64 read banks.
#pragma once
#include "common.h"

#define LIKELY(x) __builtin_expect_with_probability(!!(x), 1, 0.9999)
#define UNLIKELY(x) __builtin_expect_with_probability(!!(x), 0, 0.9999)

// A kernel's arguments: DecodeParams, its first part in the wave's registers when it starts.
#define PARAMS                                                                                                                   \
  const int32_t *main_indices, const int32_t *main_indptr, const int32_t *extra_indices, const int32_t *extra_indptr,            \
      uint32_t magic, uint32_t shift, int32_t main_even, int32_t extra_even, const bf16 *q, const Late late
#define PACKED {{{main_indices, main_indptr}, {extra_indices, extra_indptr}, {magic, shift}, main_even, extra_even, q}, late}

namespace product {

constexpr int THREADS = 256;
constexpr int WAVES = THREADS / WAVE_SIZE;
constexpr int BLOCK_HEADS = 16;
constexpr int TILE_TOKENS = 32;
constexpr int STRIPS = TILE_TOKENS / 16; // a strip is 16 tokens: the height of an MFMA
constexpr int PIECES = DATA_BYTES / 64;  // 64 bytes of each of 16 tokens, 16 bytes a lane, are one load
constexpr int SLOTS = HEAD_DIM / 8;      // 16 bytes of bf16
constexpr int Q_PIECES = SLOTS / 4;      // 16 heads, 4 slots: an MFMA's B
constexpr int OUT_TILES = HEAD_DIM / 16;
constexpr int ROW_BYTES = HEAD_DIM * 2;
constexpr int WAVE_LDS = TILE_TOKENS * ROW_BYTES;
constexpr int AHEAD = 6;             // V tiles read ahead of the MFMA that takes them
constexpr uint32_t ALL = 0xffffffff; // every token of a tile attends
constexpr int MAX_SPLIT = 16;
constexpr float RESCALE_AT = 8.0f; // log2: weights stay below 2^8, far from any limit of bf16 or fp32

static_assert(ROPE_OFFSET == GROUPS * 64 && PIECES == GROUPS + 2, "a piece is one fp8 group, or half of the bf16 part");

// The first of the 8 dims in a slot. Piece i < 7 gives a lane fp8 dims 64 i + 16 g .. + 15: slots 8 i + g and 8 i + 4 + g. Pieces
// 7 and 8 give it bf16 dims 448 + 8 g .. + 7 and 480 + 8 g .. + 7: slots 56 + g and 60 + g.
__device__ __forceinline__ int dim_of_slot(int four, int group) { // slot four + group, four a multiple of 4
  const bool fp8 = four < 8 * GROUPS;                             // as factors: no branch
  return (four & ~7) * 8 + (fp8 ? 2 : 8) * (four & 4) + (fp8 ? 16 : 8) * group;
}

// The slot that holds a dim.
__device__ __forceinline__ int slot_of_dim(int dim) {
  const int eighth = dim >> 3;
  return eighth < 8 * GROUPS ? (eighth & ~7) | (eighth & 1) << 2 | (eighth >> 1 & 3) : eighth;
}

__device__ __forceinline__ int bank_key(int token) { return (token & 7) << 1 | ((token >> 2 ^ token >> 3) & 1); }

// Bytes of a tile on their way: of tokens m and 16 + m, this lane's 16 bytes of every piece, and the 8 scale bytes.
struct Raw {
  u32x4 data[STRIPS][PIECES];
  u32x2 scale[STRIPS];
};

template <int N> struct Constant {
  static constexpr int value = N;
};
typedef Constant<1> True;
typedef Constant<0> False;

// f(Constant<0>{}), f(Constant<1>{}), ... f(Constant<N - 1>{}).
template <int N, int FROM = 0, typename F> __device__ __forceinline__ void unrolled(const F& f) {
  if constexpr (FROM < N) {
    f(Constant<FROM>{});
    unrolled<N, FROM + 1>(f);
  }
}

__device__ __forceinline__ int tiles_in(int length) { return static_cast<unsigned>(length + TILE_TOKENS - 1) / TILE_TOKENS; }

__device__ __forceinline__ uint32_t divide(uint32_t n, Divisor by) { return __umulhi(2 * n, by.magic) >> by.shift; }

// A row's work: tiles of the main segment, then of the extra one.
struct Row {
  const DecodeParams& p;
  Span main, extra;
  int main_tiles, tiles;
};

// Where a row's lists begin and end.
struct Ends {
  int main[2], extra[2];
  __device__ __forceinline__ bool operator!=(const Ends& other) const {
    return ((main[0] ^ other.main[0]) | (main[1] ^ other.main[1]) | (extra[0] ^ other.extra[0]) | (extra[1] ^ other.extra[1])) !=
           0;
  }
};
// Without a branch, so that both are asked for at once: an absent list reads the other's.
__device__ __forceinline__ Ends ends_of(const DecodeParams& p, int row) {
  const int32_t* const main = (p.main_list.indptr != nullptr ? p.main_list.indptr : p.extra_list.indptr) + row;
  const int32_t* const extra = (p.extra_list.indptr != nullptr ? p.extra_list.indptr : p.main_list.indptr) + row;
  return {{main[0], main[1]}, {extra[0], extra[1]}};
}
// What they are where all rows are as long as the host's sizes say: whoever asks for slots by this guess need not wait for them.
__device__ __forceinline__ Ends even_ends(const DecodeParams& p, int row) {
  const int main = p.main_list.indptr != nullptr ? p.main_even : p.extra_even;
  const int extra = p.extra_list.indptr != nullptr ? p.extra_even : p.main_even;
  return {{row * main, (row + 1) * main}, {row * extra, (row + 1) * extra}};
}

__device__ __forceinline__ Row row_of(const DecodeParams& p, const Ends& ends) {
  // Behind an empty span lies something that may be read, so that nobody need ask whether there are slots before reading them.
  const int32_t* const any = p.main_list.indptr != nullptr ? p.main_list.indptr : p.extra_list.indptr;
  const auto span = [&](const List& list, const int (&at)[2]) {
    const int length = list.indptr != nullptr ? at[1] - at[0] : 0;
    return Span{length > 0 ? list.indices + at[0] : any, length};
  };
  Row work = {p, span(p.main_list, ends.main), span(p.extra_list, ends.extra), 0, 0};
  work.main_tiles = tiles_in(work.main.length);
  work.tiles = work.main_tiles + tiles_in(work.extra.length);
  return work;
}

// This lane's entries of a tile's list. Past its end the last entry stands in; `locate` knows.
struct Listed {
  int slot[STRIPS];
};

__device__ __forceinline__ void fetch_slots(Listed& listed, const Row& row, int tile, int m) { // phase: gather
  const bool in_main = tile < row.main_tiles;
  const Span span = in_main ? row.main : row.extra;
  const int first = (in_main ? tile : tile - row.main_tiles) * TILE_TOKENS + m, last = span.length - 1;
#pragma unroll
  for (int s = 0; s < STRIPS; ++s) {
    const uint32_t position = static_cast<uint32_t>(max(min(first + 16 * s, last), 0));
    listed.slot[s] = *reinterpret_cast<const int32_t*>(reinterpret_cast<const char*>(span.slots) + position * 4);
  }
}

// What a token that does not attend has in place of a record.
static __device__ const uint8_t NO_RECORD[DATA_BYTES] = {};

// Where this lane finds its bytes of a tile, and which tokens attend.
typedef const __attribute__((address_space(1))) uint8_t* Global; // or the compiler would take it for any kind of memory
template <typename T> struct Loosely {
  typedef T Vector __attribute__((aligned(8)));
};
template <typename T> using GlobalOf = const __attribute__((address_space(1))) typename Loosely<T>::Vector*;
struct Source {
  Global data[STRIPS], scale[STRIPS];
  uint32_t valid; // bit t: token t attends
};

__device__ __forceinline__ Source locate(const Row& row, int tile, const Listed& listed, int m, int g) {
  const bool in_main = tile < row.main_tiles;
  const Segment& segment = in_main ? row.p.main : row.p.extra;
  const int left = (in_main ? row.main.length : row.extra.length) - (in_main ? tile : tile - row.main_tiles) * TILE_TOKENS;
  const uint32_t data_bytes = segment.block_size * DATA_BYTES;
  const Global data_base = (Global)segment.cache + 16 * g, scale_base = (Global)segment.cache + data_bytes;
  // A slot's record: block * block_stride + place * DATA_BYTES, with place = slot - block * block_size.
  const int64_t data_step = segment.block_stride - data_bytes;
  const int64_t scale_step = segment.block_stride - segment.block_size * SCALE_BYTES;
  uint32_t slot[STRIPS];
  Source source;
  source.valid = 0;
#pragma unroll
  for (int s = 0; s < STRIPS; ++s) {
    slot[s] = static_cast<uint32_t>(listed.slot[s]);
    const uint64_t valid = __builtin_amdgcn_ballot_w64(slot[s] < static_cast<uint32_t>(segment.num_slots));
    source.valid |= static_cast<uint32_t>(valid & 0xffff) << 16 * s;
  }
  source.valid &= left < TILE_TOKENS ? (1u << max(left, 0)) - 1 : ALL;
#pragma unroll
  for (int s = 0; s < STRIPS; ++s) {
    const uint32_t block = divide(slot[s], segment.block);
    source.data[s] = data_base + static_cast<uint64_t>(slot[s]) * DATA_BYTES + block * data_step;
    source.scale[s] = scale_base + static_cast<uint64_t>(slot[s]) * SCALE_BYTES + block * scale_step;
  }
  if (UNLIKELY(source.valid != ALL)) // 0 * NaN is NaN, so a weight of zero would not keep a poisoned record out
#pragma unroll
    for (int s = 0; s < STRIPS; ++s)
      if (!(source.valid >> (16 * s + m) & 1)) {
        source.data[s] = (Global)NO_RECORD + 16 * g;
        source.scale[s] = (Global)NO_RECORD;
      }
  return source;
}

constexpr int LOADS = STRIPS * (1 + PIECES); // of a tile, a lane: a strip's scales, then its pieces
__device__ __forceinline__ void load(Raw& raw, const Source& source, int n) {
  const int s = n / (1 + PIECES), i = n % (1 + PIECES) - 1;
  if (i < 0)
    raw.scale[s] = *(GlobalOf<u32x2>)source.scale[s];
  else
    raw.data[s][i] = *(GlobalOf<u32x4>)(source.data[s] + 64 * i);
}

__device__ __forceinline__ bf16x8 dequantise(uint32_t low, uint32_t high, float scale) { // phase: dequantise
  const bf16x2 a = cvt_pk_bf16_fp8<0>(low, scale), b = cvt_pk_bf16_fp8<1>(low, scale);
  const bf16x2 c = cvt_pk_bf16_fp8<0>(high, scale), d = cvt_pk_bf16_fp8<1>(high, scale);
  return __builtin_shufflevector(__builtin_shufflevector(a, b, 0, 1, 2, 3), __builtin_shufflevector(c, d, 0, 1, 2, 3), 0, 1, 2, 3,
                                 4, 5, 6, 7);
}

// What a lane keeps from tile to tile: of head m, dims of slots 2 n and 2 n + 1 (element 4 g + r of these 16), the maximum, and
// the sum of weights (in every element).
struct Online {
  f32x4 acc[OUT_TILES], sum;
  float max;
};

// Every wave wants all of Q, in the same registers: each loads a quarter and hands it on through LDS, for the address unit takes
// as long for a load that hits L1 as for one that does not. A head past the last one has the last one's, and its result is not
// stored.
struct Quarter {
  bf16x8 pieces[Q_PIECES / WAVES];
};
__device__ __forceinline__ Quarter load_q(const DecodeParams& p, int row, int head, int wave, int g) { // phase: load q
  Quarter quarter;
  const bf16* const at = p.q + row * p.q_row_stride + min(head, p.heads - 1) * p.q_head_stride;
#pragma unroll
  for (int i = 0; i < Q_PIECES / WAVES; ++i)
    quarter.pieces[i] = load_unaligned<bf16x8>(at + dim_of_slot(4 * (Q_PIECES / WAVES * wave + i), g));
  return quarter;
}

__device__ __forceinline__ void leave_q(char* lds, const Quarter& quarter, int wave, int lane) {
#pragma unroll
  for (int i = 0; i < Q_PIECES / WAVES; ++i)
    reinterpret_cast<bf16x8*>(lds)[(Q_PIECES / WAVES * wave + i) * WAVE_SIZE + lane] = quarter.pieces[i];
}

__device__ __forceinline__ void take_q(bf16x8 (&q)[Q_PIECES], const char* lds, int lane) {
#pragma unroll
  for (int i = 0; i < Q_PIECES; ++i)
    q[i] = reinterpret_cast<const bf16x8*>(lds)[i * WAVE_SIZE + lane];
}

// Largest of the four lanes that share a head. (clang 22 reads element 0 when an element of a vector is bit-cast: hence the
// names.)
__device__ __forceinline__ float max_of_head(float x) { // phase: softmax
  uint32_t bits = __builtin_bit_cast(uint32_t, x);
  const auto halves = __builtin_amdgcn_permlane32_swap(bits, bits, false, false);
  const uint32_t low = halves[0], high = halves[1];
  bits = __builtin_bit_cast(uint32_t, __builtin_fmaxf(__builtin_bit_cast(float, low), __builtin_bit_cast(float, high)));
  const auto quarters = __builtin_amdgcn_permlane16_swap(bits, bits, false, false);
  const uint32_t even = quarters[0], odd = quarters[1];
  return __builtin_fmaxf(__builtin_bit_cast(float, even), __builtin_bit_cast(float, odd));
}

// Of the 16 lanes of a row: one's value (CONTROL 0x150 + lane), or that of the lane n further (0x120 + n).
template <int CONTROL> __device__ __forceinline__ float from_row(float x) {
  return __builtin_bit_cast(float, __builtin_amdgcn_update_dpp(0, __builtin_bit_cast(int, x), CONTROL, 0xf, 0xf, false));
}
__device__ __forceinline__ float max_of_row(float x) {
  x = __builtin_fmaxf(x, from_row<0x128>(x));
  x = __builtin_fmaxf(x, from_row<0x124>(x));
  x = __builtin_fmaxf(x, from_row<0x122>(x));
  return __builtin_fmaxf(x, from_row<0x121>(x));
}
__device__ __forceinline__ float sum_of_row(float x) {
  x += from_row<0x128>(x);
  x += from_row<0x124>(x);
  x += from_row<0x122>(x);
  return x + from_row<0x121>(x);
}

// A head's sink, natural log; asked for long before it is wanted, and without a branch, behind which the wave would wait for it.
__device__ __forceinline__ float sink_of(const DecodeParams& p, int head) {                             // phase: merge
  const float* const from = p.attn_sink != nullptr ? p.attn_sink : reinterpret_cast<const float*>(p.q); // any numbers
  return from[min(head, p.heads - 1)];
}

} // namespace product
