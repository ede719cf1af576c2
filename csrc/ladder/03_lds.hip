// Step 3, LDS: bring and convert a tile once, read it twice, and put the second product on the matrix unit too.
//
// The idea. K and V are the same numbers. So a tile of 32 tokens is dequantised into LDS once; QK reads it along its rows, PV
// down its columns, because MFMA wants of lane 16 g + m the values of dim m for tokens 8 g .. + 7. Without LDS that would be a
// gather of single bytes from memory. The pieces are those of csrc/decode/base_tile.h, which does the same with four waves; here
// one wave does it all.
//
// The layout. As in base_tile.h: Q 16 KiB, the tile 32 KiB, scores, 50.1 KiB together. One wave has all 512 dims of the output:
// 128 registers. A workgroup is one wave, so that its barriers cost nothing.
//
// The price. LDS lets three workgroups onto a CU, and each is one wave: one of the four SIMDs idles always, and nothing hides
// what the others wait for. And a single wave walks through gather, QK, softmax and PV of all 512 dims alone.
//
// The gain. 7,289 instructions become 1,801, 950 us become 310. LDS is a unit to watch from here on: 4,690 phases a tile, of
// which 3,688 are bank conflicts. The base design (step 4) shares the tile out among four waves: 310 us become 160, with 2,044
// instructions, for its four waves each do the softmax.
#if defined(__gfx950__)
#include "ladder.h"

extern "C" __global__ __launch_bounds__(WAVE_SIZE, 1) void mla_ladder_lds(const DecodeParams p) {
  using namespace ladder;
  __shared__ Shared lds;
  const int lane = threadIdx.x, row = blockIdx.x, head0 = blockIdx.y * BLOCK_HEADS, m = lane % 16, g = lane / 16;
  const Span main = span_of(p.main_list, row), extra = span_of(p.extra_list, row);
  const int main_tiles = tiles_in(main.length), tiles = main_tiles + tiles_in(extra.length);
  Online state[QUARTERS] = {}; // of 128 dims each; all have the same maximum and sum
  float max = NO_MAX, sum = 0.0f;
#pragma unroll
  for (int quarter = 0; quarter < QUARTERS; ++quarter)
    stage_q(lds, p, row, head0, WAVE_SIZE * quarter + lane);
  for (int tile = 0; tile < tiles; ++tile) {
    const bool in_main = tile < main_tiles;
#pragma unroll 1
    for (int quarter = 0; quarter < QUARTERS; ++quarter)
      gather(lds, in_main ? p.main : p.extra, in_main ? main : extra, in_main ? tile : tile - main_tiles,
             WAVE_SIZE * quarter + lane);
    __syncthreads();
    score(lds, p.scale * LOG2_E, lane);
    __syncthreads();
    const f32x4* const scores = reinterpret_cast<const f32x4*>(&lds.scores[m][8 * g]);
    float alpha;
    const bf16x8 weights = weigh(scores[0], scores[1], max, sum, alpha, lane);
#pragma unroll
    for (int quarter = 0; quarter < QUARTERS; ++quarter) {
      rescale(state[quarter].acc, alpha, lane);
      accumulate(lds, state[quarter], weights, quarter, lane);
    }
    __syncthreads();
  }
#pragma unroll
  for (int quarter = 0; quarter < QUARTERS; ++quarter) {
    state[quarter].max = max;
    state[quarter].sum = sum;
    store(p, row, head0, state[quarter], lane, [=](int n) { return DIMS_PER_WAVE * quarter + 16 * n + m; });
  }
}
#endif
