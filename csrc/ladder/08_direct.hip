// Step 8, direct K: from memory straight into the registers in which MFMA wants it; and all four waves score.
//
// The idea. The order in which dims meet does not matter to a dot product, as long as Q comes in the same one. So let a lane
// bring 16 consecutive bytes of its token: two MFMAs' worth, converted where they are. K need not pass through LDS at all, and Q
// stays in registers. V still does, for its columns; but let wave w bring dims 128 w .. + 127, the very ones that it multiplies
// in PV: then nobody reads a tile that another wave wrote. All that waves exchange is their part of the scores, through one
// barrier, not three.
//
// The layout. Pieces and slots of csrc/decode/product_tile.h, its `locate` and `bank_key` too. S^T = K Q^T: a lane has 4 tokens
// of one head, and leaves them as one ds_write_b128 for the lane of the same number in the other waves. A wave's V: [32
// tokens][16 slots], 8 KiB. Parts of scores: two times 8 KiB, in turns; so one barrier a tile is enough. 48 KiB together.
//
// The price. The softmax is still done four times, now with 8 reads that add up the parts. And a wave asks for half of a token's
// line.
//
// The gain. Hardly an instruction: what QK and PV save in addresses, adding up parts and masking costs, four times.
// But three barriers become one, 922 LDS phases 608, and no wave waits while another one scores: 89 us become 65.
#if defined(__gfx950__)
#include "decode/product_tile.h"
#include "ladder.h"

namespace ladder {

constexpr int WAVES = product::WAVES, STRIPS = product::STRIPS, STEPS = product::Q_PIECES / WAVES;
constexpr int WAVE_ROW = DIMS_PER_WAVE * 2; // bytes
using product::bank_key, product::dim_of_slot;

struct Direct {
  alignas(1024) char v[WAVES][TILE_TOKENS * WAVE_ROW];
  f32x4 part[2][WAVES][STRIPS][WAVE_SIZE];
};

// A lane's bytes of a tile: of tokens m and 16 + m, of pieces 2 wave and 2 wave + 1. The last wave's second piece is the bf16
// part.
struct Bytes {
  u32x4 first[STRIPS], second[STRIPS], third[STRIPS];
  u32x2 scale[STRIPS];
};

__device__ __forceinline__ void gather(Bytes& raw, const product::Source& source, int wave) { // phase: gather
#pragma unroll
  for (int s = 0; s < STRIPS; ++s) {
    raw.scale[s] = *(product::GlobalOf<u32x2>)source.scale[s];
    raw.first[s] = *(product::GlobalOf<u32x4>)(source.data[s] + 128 * wave);
    raw.second[s] = *(product::GlobalOf<u32x4>)(source.data[s] + 128 * wave + 64);
    if (wave == WAVES - 1)
      raw.third[s] = *(product::GlobalOf<u32x4>)(source.data[s] + 128 * wave + 128);
  }
}

// This wave's part of the scores; its 128 dims of V to LDS.
__device__ __forceinline__ void score(f32x4 (&x)[STRIPS], const Bytes& raw, const bf16x8 (&q)[STEPS], char* v, int wave,
                                      int lane) { // phase: QK
  const int m = lane % 16, g = lane / 16;
  bf16x8 k[STRIPS][STEPS];
  const auto convert = [&](int s, int i, u32x4 bytes, uint32_t scale) {
    k[s][i] = product::dequantise(bytes[0], bytes[1], __builtin_bit_cast(float, scale << 23));
    k[s][i + 1] = product::dequantise(bytes[2], bytes[3], __builtin_bit_cast(float, scale << 23));
  };
  if (wave < WAVES - 1) {
#pragma unroll
    for (int s = 0; s < STRIPS; ++s) {
      const uint32_t scales = (wave < 2 ? raw.scale[s][0] : raw.scale[s][1]) >> (wave % 2 * 16);
      convert(s, 0, raw.first[s], scales);
      convert(s, 2, raw.second[s], scales >> 8);
    }
  } else {
#pragma unroll
    for (int s = 0; s < STRIPS; ++s) {
      convert(s, 0, raw.first[s], raw.scale[s][1] >> 16);
      k[s][2] = __builtin_bit_cast(bf16x8, raw.second[s]);
      k[s][3] = __builtin_bit_cast(bf16x8, raw.third[s]);
    }
  }
#pragma unroll
  for (int s = 0; s < STRIPS; ++s) {
    x[s] = {};
#pragma unroll
    for (int i = 0; i < STEPS; ++i) {
      *reinterpret_cast<bf16x8*>(v + (16 * s + m) * WAVE_ROW + 16 * ((4 * i + g) ^ bank_key(m))) = k[s][i];
      x[s] = mfma_16x16x32(k[s][i], q[i], x[s]);
    }
  }
}

// Tokens 4 g .. + 3 and 16 + 4 g .. + 3 are this lane's, in the weights and so in V.
__device__ __forceinline__ void accumulate(Online& state, const char* v, bf16x8 weights, int lane) { // phase: PV
  const int m = lane % 16, row = 4 * (lane / 16) + m / 4;
#pragma unroll
  for (int n = 0; n < OUT_TILES; ++n) {
    const char* const at = v + row * WAVE_ROW + 16 * ((2 * n + m / 2 % 2) ^ bank_key(row)) + m % 2 * 8;
    const bf16x4 low = read_transposed(at), high = read_transposed(at + 16 * WAVE_ROW);
    state.acc[n] = mfma_16x16x32(weights, __builtin_shufflevector(low, high, 0, 1, 2, 3, 4, 5, 6, 7), state.acc[n]);
  }
}

} // namespace ladder

extern "C" __global__ __launch_bounds__(256, 3) void mla_ladder_direct(const DecodeParams p) { // phase: none
  using namespace ladder;
  __shared__ Direct lds;
  const int tid = threadIdx.x, row = blockIdx.x, head0 = blockIdx.y * BLOCK_HEADS;
  const int wave = uniform(tid / WAVE_SIZE), lane = tid % WAVE_SIZE, m = lane % 16, g = lane / 16;
  const product::Row work = product::row_of(p, product::ends_of(p, row));
  const product::Quarter quarter = product::load_q(p, row, head0 + m, wave, g);
  const bf16x8(&q)[STEPS] = quarter.pieces;
  Online state = {};
  state.max = NO_MAX;
  for (int tile = 0; tile < work.tiles; ++tile) {
    product::Listed listed;
    product::fetch_slots(listed, work, tile, m);
    const product::Source source = product::locate(work, tile, listed, m, g);
    Bytes raw;
    gather(raw, source, wave);
    f32x4 x[STRIPS];
    score(x, raw, q, lds.v[wave], wave, lane);
    auto& parts = lds.part[tile % 2];
#pragma unroll
    for (int s = 0; s < STRIPS; ++s)
      parts[wave][s][lane] = x[s];
    __syncthreads();
#pragma unroll
    for (int s = 0; s < STRIPS; ++s) { // phase: softmax
      x[s] = (parts[0][s][lane] + parts[1][s][lane] + parts[2][s][lane] + parts[3][s][lane]) * (p.scale * LOG2_E);
#pragma unroll
      for (int r = 0; r < 4; ++r)
        x[s][r] = source.valid >> (16 * s + 4 * g + r) & 1 ? x[s][r] : -__builtin_inff();
    }
    float alpha; // phase: none
    const bf16x8 weights = weigh(x[0], x[1], state.max, state.sum, alpha, lane);
    rescale(state.acc, alpha, lane);
    accumulate(state, lds.v[wave], weights, lane);
    __builtin_amdgcn_wave_barrier(); // the compiler must not move the next tile's writes before these reads
  }
  store(p, row, head0, state, lane, [=](int n) {
    const int slot = 2 * OUT_TILES * wave + 2 * n + m / 8;
    return dim_of_slot(slot & ~3, slot & 3) + m % 8;
  });
}
#endif
