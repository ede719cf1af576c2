// Step 11, split-K: cut rows into parts, so that few rows fill the chip as well.
//
// The idea. Until now a row and 16 heads are one workgroup, and one row keeps one of 256 CUs busy. The softmax of a row is merged
// from those of its parts (it is already: of four waves). So give each part of a row's tiles a workgroup: it leaves its sums, not
// normalised, with their maximum and their sum of weights in a workspace, and a second launch merges them, adds the sink and
// normalises.
//
// The layout. Grid (rows, blocks of 16 heads, parts). Workspace, fp32: [row][part][head][512] sums and [row][part][head][2]
// maximum and sum. The second launch is the product's: grid (rows, blocks of 4 heads), a wave a head.
//
// The price. 33 KiB written and read again for each part of 16 heads, and a second launch: worth it as long as CUs would idle.
//
// The gain. One row in 16 parts: 25 us become 11. 64 rows, in 4 parts: 25 become 16. For rows that stay whole, nothing.
//
// What the product does beyond it (step 12, csrc/decode/shared_tile.h): eight waves share a tile again, so that two fit a SIMD;
// a tile takes a quarter less. Tokens are masked only in tiles that need it, accumulators rescaled only when the maximum rises by
// 2^8, weights added up by one more MFMA. Loads go out between products, and the part of a row that comes last may merge, without
// a second launch.
#if defined(__gfx950__)
#include "10_prefetch.hip"

extern "C" __global__ __launch_bounds__(256, 1) void mla_ladder_split(const DecodeParams p) { // phase: none
  using namespace ladder;
  __shared__ Shared lds;
  const Worker at;
  const int part = blockIdx.z;
  const Row work = row_of(p, ends_of(p, at.row));
  Online state = {};
  attend(state, lds, work, part * work.tiles / p.split_k, (part + 1) * work.tiles / p.split_k, at);
  if (p.split_k == 1)
    return finish_row(lds, p, state, at);
  const Merged merged = merge(lds, p, state, at);
  const int64_t first = (static_cast<int64_t>(at.row) * p.split_k + part) * p.heads + at.head0 + merged.first; // phase: store
  float* const acc = static_cast<float*>(p.partial_acc);
#pragma unroll
  for (int i = 0; i < HEADS_PER_WAVE; ++i) {
    if (i >= merged.heads)
      break;
    if (at.lane == 0)
      store_unaligned(p.partial_ml + (first + i) * 2, f32x2{merged.parts[i].max, merged.parts[i].sum});
#pragma unroll
    for (int quad = 0; quad < QUADS; ++quad)
      *reinterpret_cast<f32x4*>(acc + (first + i) * HEAD_DIM + 4 * (WAVE_SIZE * quad + at.lane)) = merged.parts[i].acc[quad];
  }
}
#endif
