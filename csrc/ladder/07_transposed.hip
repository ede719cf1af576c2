// Step 7, transposed reads: LDS hands out columns of V by itself.
//
// The idea. MFMA wants of V, as its B operand, the values of one dim for 8 tokens in each lane: a column of the tile. Until now a
// lane fetched them one by one, 8 reads of 2 bytes and 4 instructions to put pairs together. ds_read_b64_tr_b16 (gfx950) reads 4
// rows of 16 columns for 16 lanes and gives lane m column m: 4 values an instruction, in their places.
//
// The layout. That of step 5: lane 16 g + m points at 8 bytes of row 8 g + m / 4, and then of the row 4 further. A phase is 32
// lanes, 8 rows in one pair of slots, for which `key` (step 5) has 8 different places.
//
// The price. All 64 lanes must take part, and a row must be 16 columns wide. Neither hurts here.
//
// The gain. 1,974 instructions become 1,466, 1,050 LDS phases 922, 97 us become 89.
#if defined(__gfx950__)
#include "06_packed.hip"

namespace ladder {

struct Transposed : Packed {
  static __device__ __forceinline__ void accumulate(Shared& lds, Online& state, bf16x8 weights, int wave, int lane) { // phase: PV
    const int row = 8 * (lane / 16) + lane % 16 / 4,
              mine = opaque(place(row, 2 * OUT_TILES * wave + lane / 2 % 2) + lane % 2 * 8);
#pragma unroll
    for (int n = 0; n < OUT_TILES; ++n) {
      const bf16x4 low = read_transposed(&at<char>(lds.kv, mine ^ place(0, 2 * n)));
      const bf16x4 high = read_transposed(&at<char>(lds.kv, mine ^ place(4, 2 * n)));
      state.acc[n] = mfma_16x16x32(weights, __builtin_shufflevector(low, high, 0, 1, 2, 3, 4, 5, 6, 7), state.acc[n]);
    }
  }
};

} // namespace ladder

#if __INCLUDE_LEVEL__ == 0
extern "C" __global__ __launch_bounds__(ladder::THREADS,
                                        ladder::WAVES_PER_SIMD) void mla_ladder_transposed(const DecodeParams p) {
  ladder::decode<ladder::Transposed>(p);
}
#endif
#endif
