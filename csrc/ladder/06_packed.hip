// Step 6, packed conversion: fp8 to bf16 two at a time, scale included.
//
// The idea. The base design makes a bf16 of an fp8 in three steps: byte to fp32 (v_cvt_f32_fp8), times the scale (v_pk_mul_f32,
// two at a time), two fp32 to a pair of bf16 (v_cvt_pk_bf16_f32). gfx950 has one instruction for a pair:
// v_cvt_scalef32_pk_bf16_fp8 takes two bytes and the power of two in the exponent of a float. Cache scales are powers of two, so
// nothing is lost, not even a bit.
//
// The layout. That of step 5.
//
// The price. None. What remains of the gather is addresses, bounds and stores.
//
// The gain. 2,350 instructions become 1,974. Time hardly changes, 105 us to 97: waves wait at three barriers a tile, and for
// memory.
#if defined(__gfx950__)
#include "05_swizzle.hip"

namespace ladder {

struct Packed : Swizzled {
  static __device__ __forceinline__ bf16x8 dequantise(uint32_t low, uint32_t high, float scale) { // phase: dequantise
    const bf16x2 a = cvt_pk_bf16_fp8<0>(low, scale), b = cvt_pk_bf16_fp8<1>(low, scale);
    const bf16x2 c = cvt_pk_bf16_fp8<0>(high, scale), d = cvt_pk_bf16_fp8<1>(high, scale);
    return {a[0], a[1], b[0], b[1], c[0], c[1], d[0], d[1]};
  }
  static __device__ __forceinline__ void gather(Shared& lds, const Segment& segment, Span span, int tile, int tid) {
    Swizzled::gather<Packed>(lds, segment, span, tile, tid);
  }
};

} // namespace ladder

#if __INCLUDE_LEVEL__ == 0
extern "C" __global__ __launch_bounds__(ladder::THREADS, ladder::WAVES_PER_SIMD) void mla_ladder_packed(const DecodeParams p) {
  ladder::decode<ladder::Packed>(p);
}
#endif
#endif
