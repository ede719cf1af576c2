// Step 5, no bank conflicts: the base design (step 4, csrc/decode/base_tile.h) with every array of LDS stored so that no two
// lanes of a phase want different words of one bank.
//
// The idea. LDS serves an access in phases of a fixed set of lanes, and in one phase a bank gives one dword: 64 banks for reads,
// 32 for writes. Rows of 1,024 bytes put the same column of all rows into the same banks. XOR with a key of the row moves 16-byte
// slots about within their row, costs no memory, and turns the same column of 16 rows into 16 different places. (A pad of 16
// bytes a row would do for 16 lanes that are 16 rows. But a phase of ds_read_b128 is 8 rows of one slot and 8 other rows of the
// next.)
//
// The layout. Slot s (16 bytes) of row t of the tile, and of Q, lies at slot s ^ (s >> 3) ^ key(t) of its row.
//   key(t) serves both reads of the tile: one for QK of 16 rows, in phases of rows 0-3, 12-15 in one slot and 4-11 in the next;
//   and
//     one for PV of a pair of slots in rows t, 8 + t, 16 + t and 24 + t. It will serve those of step 7 as well.
//   s >> 3 serves the writes: 8 lanes bring 8 slots each of one token, at one time slots i, 8 + i, ... 56 + i.
//   Scores: quad s of head h lies at quad s ^ key_of_scores(h), for the read of 8 tokens of 16 heads in the softmax.
// All of it is exclusive or, so an address is that of the lane's part ^ that of the loop's part, which is a constant.
//
// The price. That XOR: an instruction can carry an offset, but not this, so every read of V is one more VALU instruction.
//
// The gain. 4,810 LDS phases a tile become 1,050, none of them a conflict; instructions grow from 2,044 to 2,350; 160 us become
// 105.
#if defined(__gfx950__)
#include "ladder.h"

namespace ladder {

constexpr __device__ __forceinline__ int key(int row) {
  return ((row & 3) << 1 | (row >> 3 & 1) | ((row >> 2 ^ row >> 3) & 1) << 3) ^ (row >> 4 & 1) << 1;
}
constexpr __device__ __forceinline__ int key_of_scores(int head) {
  return (head >> 1 & 1) | (head >> 3) << 1 | ((head >> 2 ^ head >> 3) & 1) << 2;
}

// Bytes into the tile or Q, and into the scores.
constexpr __device__ __forceinline__ int place(int row, int slot) {
  return HEAD_DIM * 2 * row + 16 * (slot ^ slot >> 3 ^ key(row));
}
constexpr __device__ __forceinline__ int place_of_score(int head, int token) {
  return TILE_TOKENS * 4 * head + 16 * (token / 4 ^ key_of_scores(head)) + token % 4 * 4;
}
template <typename T, typename Array> __device__ __forceinline__ T& at(Array& array, int place) {
  return *reinterpret_cast<T*>(reinterpret_cast<char*>(array) + place);
}

// The same number, but the compiler must not know it. It would compute the addresses of all reads before the loop, and run out of
// registers to keep them in.
__device__ __forceinline__ int opaque(int x) {
  asm("" : "+v"(x));
  return x;
}

struct Swizzled {
  typedef base::Shared Shared;

  static __device__ __forceinline__ void stage_q(Shared& lds, const DecodeParams& p, int row, int head0,
                                                 int tid) { // phase: load q
    constexpr int SLOTS = HEAD_DIM / 8;
#pragma unroll
    for (int i = 0; i < BLOCK_HEADS * SLOTS / THREADS; ++i) {
      const int head = (THREADS * i + tid) / SLOTS, slot = tid % SLOTS;
      const bf16* const of_head = p.q + row * p.q_row_stride + min(head0 + head, p.heads - 1) * p.q_head_stride;
      at<bf16x8>(lds.q, place(head, slot)) = load_unaligned<bf16x8>(of_head + 8 * slot);
    }
  }

  static __device__ __forceinline__ bf16x8 dequantise(uint32_t low, uint32_t high, float scale) {
    return base::dequantise(low, high, scale);
  }

  // As in base_tile.h: 8 threads a token, one for each 64 dims.
  template <typename Version = Swizzled>
  static __device__ __forceinline__ void gather(Shared& lds, const Segment& segment, Span span, int tile,
                                                int tid) { // phase: gather
    const int token = tid / THREADS_PER_TOKEN, part = tid % THREADS_PER_TOKEN;
    const Record record = record_of(segment, span, tile * TILE_TOKENS + token);
    if (part == 0)
      lds.valid[token] = record.data != nullptr;
    const int mine = place(token, 8 * part);
    if (record.data == nullptr) {
#pragma unroll
      for (int i = 0; i < 8; ++i)
        at<bf16x8>(lds.kv, mine ^ place(0, i)) = bf16x8{};
    } else if (part < GROUPS) {
      const float scale = scale_from_ue8m0(record.scales[part]);
      u32x4 raw[4];
#pragma unroll
      for (int i = 0; i < 4; ++i)
        raw[i] = load_unaligned<u32x4>(record.data + part * GROUP_DIM + 16 * i);
#pragma unroll
      for (int i = 0; i < 8; ++i)
        at<bf16x8>(lds.kv, mine ^ place(0, i)) = Version::dequantise(raw[i / 2][i % 2 * 2], raw[i / 2][i % 2 * 2 + 1], scale);
    } else {
      bf16x8 raw[8];
#pragma unroll
      for (int i = 0; i < 8; ++i)
        raw[i] = load_unaligned<bf16x8>(record.data + ROPE_OFFSET + 16 * i);
#pragma unroll
      for (int i = 0; i < 8; ++i)
        at<bf16x8>(lds.kv, mine ^ place(0, i)) = raw[i];
    }
  }

  static __device__ __forceinline__ void score(Shared& lds, float scale_log2, int lane) { // phase: QK
    const int column = lane % 16, group = lane / 16, mine = opaque(place(column, group));
    f32x4 scores[2] = {};
#pragma unroll
    for (int step = 0; step < HEAD_DIM / 32; ++step) {
      const bf16x8 q = at<bf16x8>(lds.q, mine ^ place(0, 4 * step));
#pragma unroll
      for (int half = 0; half < 2; ++half)
        scores[half] = mfma_16x16x32(q, at<bf16x8>(lds.kv, mine ^ place(16 * half, 4 * step)), scores[half]);
    }
#pragma unroll
    for (int half = 0; half < 2; ++half)
#pragma unroll
      for (int r = 0; r < 4; ++r)
        at<float>(lds.scores, place_of_score(4 * group, column) ^ place_of_score(r, 16 * half)) =
            lds.valid[16 * half + column] ? scores[half][r] * scale_log2 : -__builtin_inff();
  }

  static __device__ __forceinline__ bf16x8 softmax(Shared& lds, Online& state, int lane) { // phase: softmax
    const int head = lane % 16, group = lane / 16;
    const f32x4 low = at<f32x4>(lds.scores, place_of_score(head, 8 * group));
    const f32x4 high = at<f32x4>(lds.scores, place_of_score(head, 8 * group + 4));
    float alpha;
    const bf16x8 weights = weigh(low, high, state.max, state.sum, alpha, lane);
    rescale(state.acc, alpha, lane);
    return weights;
  }

  static __device__ __forceinline__ void accumulate(Shared& lds, Online& state, bf16x8 weights, int wave, int lane) { // phase: PV
    const int column = lane % 16, group = lane / 16;
    const int mine = opaque(place(8 * group, 2 * OUT_TILES * wave + column / 8) + column % 8 * 2);
#pragma unroll
    for (int n = 0; n < OUT_TILES; ++n) {
      bf16x8 v;
#pragma unroll
      for (int t = 0; t < 8; ++t)
        v[t] = at<bf16>(lds.kv, mine ^ place(t, 2 * n));
      state.acc[n] = mfma_16x16x32(weights, v, state.acc[n]);
    }
  }
};

} // namespace ladder

#if __INCLUDE_LEVEL__ == 0
extern "C" __global__ __launch_bounds__(ladder::THREADS, ladder::WAVES_PER_SIMD) void mla_ladder_swizzle(const DecodeParams p) {
  ladder::decode<ladder::Swizzled>(p);
}
#endif
#endif
