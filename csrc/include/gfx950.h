// gfx950 instructions by name, one thin function each. A wave is 64 lanes; `lane` is 0..63.
#pragma once
#include <hip/hip_runtime.h>

using bf16 = __bf16;
typedef bf16 bf16x2 __attribute__((ext_vector_type(2)));
typedef bf16 bf16x8 __attribute__((ext_vector_type(8)));
typedef float f32x2 __attribute__((ext_vector_type(2)));
typedef float f32x4 __attribute__((ext_vector_type(4)));
typedef uint32_t u32x4 __attribute__((ext_vector_type(4)));

constexpr int WAVE_SIZE = 64;
constexpr float LOG2_E = 1.4426950408889634f;
constexpr float LN_2 = 0.6931471805599453f;

// Global memory is not always aligned to the vector: a cache record to 8 bytes only, a row of q to one element. The hardware
// takes any address.
template <typename Vector> __device__ __forceinline__ Vector load_unaligned(const void* address) {
  typedef Vector Loose __attribute__((aligned(2)));
  return *static_cast<const Loose*>(address);
}
template <typename Vector> __device__ __forceinline__ void store_unaligned(void* address, Vector value) {
  typedef Vector Loose __attribute__((aligned(2)));
  *static_cast<Loose*>(address) = value;
}

// D[16][16] += A[16][32] * B[32][16], fp32 += bf16 * bf16, in 4 passes of 4 clocks. With g = l / 16, element t or r of lane l is
//   A[l % 16][8 g + t],   B[8 g + t][l % 16],   D[4 g + r][l % 16].
__device__ __forceinline__ f32x4 mfma_16x16x32(bf16x8 a, bf16x8 b, f32x4 d) {
  return __builtin_amdgcn_mfma_f32_16x16x32_bf16(a, b, d, 0, 0, 0);
}

// The same with a depth of 16 in as many passes: k = 4 g + t.
typedef bf16 bf16x4 __attribute__((ext_vector_type(4)));
__device__ __forceinline__ f32x4 mfma_16x16x16(bf16x4 a, bf16x4 b, f32x4 d) {
  typedef short Bits __attribute__((ext_vector_type(4)));
  return __builtin_amdgcn_mfma_f32_16x16x16bf16_1k(__builtin_bit_cast(Bits, a), __builtin_bit_cast(Bits, b), d, 0, 0, 0);
}

// Byte BYTE of `packed` as OCP e4m3 -> fp32, exact.
template <int BYTE> __device__ __forceinline__ float cvt_f32_fp8(uint32_t packed) {
  return __builtin_amdgcn_cvt_f32_fp8(static_cast<int>(packed), BYTE);
}

// A UE8M0 scale, 2^(byte - 127). Byte 0 is 2^-127, which fp32 has only as a denormal, and byte 255 is NaN: both want the top
// mantissa bit.
__device__ __forceinline__ float scale_from_ue8m0(uint32_t byte) {
  const uint32_t mantissa = byte == 0 || byte == 255 ? 1u << 22 : 0;
  return __builtin_bit_cast(float, byte << 23 | mantissa);
}

// v_exp_f32, v_log_f32, v_rcp_f32: base 2, within one unit in the last place or so.
__device__ __forceinline__ float exp2_approx(float x) { return __builtin_amdgcn_exp2f(x); }
__device__ __forceinline__ float log2_approx(float x) { return __builtin_amdgcn_logf(x); }
__device__ __forceinline__ float rcp_approx(float x) { return __builtin_amdgcn_rcpf(x); }

// The value of `x` in lane `source` (ds_bpermute: the LDS crossbar, no LDS storage).
__device__ __forceinline__ float from_lane(float x, int source) {
  return __builtin_bit_cast(float, __builtin_amdgcn_ds_bpermute(4 * source, __builtin_bit_cast(int, x)));
}

// The value of `x` in lane `source`, the same for all lanes, as a scalar register.
__device__ __forceinline__ float broadcast_lane(float x, int source) {
  return __builtin_bit_cast(float, __builtin_amdgcn_readlane(__builtin_bit_cast(int, x), source));
}

// Tells the compiler that `x` is the same in every lane, so that it lives in a scalar register and branches on it are scalar.
__device__ __forceinline__ int uniform(int x) { return __builtin_amdgcn_readfirstlane(x); }
typedef bf16 bf16x4 __attribute__((ext_vector_type(4)));
typedef uint32_t u32x2 __attribute__((ext_vector_type(2)));
// Two of four e4m3 bytes, times the power of two in the exponent of `scale` (its sign and mantissa do not count), to bf16.
template <bool HIGH> __device__ __forceinline__ bf16x2 cvt_pk_bf16_fp8(uint32_t packed, float scale) {
  return __builtin_amdgcn_cvt_scalef32_pk_bf16_fp8(static_cast<int>(packed), scale, HIGH);
}
// Four rows of LDS down a column: lane 16 g + m points at 8 bytes of row m / 4, columns 4 (m % 4) .. + 3, of its group's 4 x 16
// tile of 16-bit elements, and gets column m, rows 0 to 3.
__device__ __forceinline__ bf16x4 read_transposed(const char* address) {
  return __builtin_amdgcn_ds_read_tr16_b64_v4bf16((__attribute__((address_space(3))) bf16x4*)address);
}
