// The 8-bit floats of the architecture by HIP's names: OCP's e4m3 and e5m2 on gfx950, the FNUZ ones on gfx942. The hardware
// converts. A finite value too large becomes the largest one.
#pragma once
#include <hip/hip_bf16.h>

#if defined(__CLANG_HIP_RUNTIME_WRAPPER_H__)
#include_next <hip/hip_fp8.h>
#else
typedef uint8_t __hip_fp8_storage_t;
enum __hip_saturation_t { __HIP_NOSAT, __HIP_SATFINITE };
namespace hip_shim {
#if defined(__gfx950__)
constexpr float E4M3_MAX = 448, E5M2_MAX = 57344;
#define HIP_SHIM_FP8(name) __hip_fp8##name
#else
constexpr float E4M3_MAX = 240, E5M2_MAX = 57344;
#define HIP_SHIM_FP8(name) __hip_fp8##name##_fnuz
#endif
template <bool E5M2> HIP_SHIM uint32_t to_fp8(float x, float y, __hip_saturation_t saturate) {
  constexpr float top = E5M2 ? E5M2_MAX : E4M3_MAX;
  if (saturate) {
    x = __builtin_isfinite(x) ? __builtin_amdgcn_fmed3f(x, top, -top) : x;
    y = __builtin_isfinite(y) ? __builtin_amdgcn_fmed3f(y, top, -top) : y;
  }
  return 0xffff & (E5M2 ? __builtin_amdgcn_cvt_pk_bf8_f32(x, y, 0, false) : __builtin_amdgcn_cvt_pk_fp8_f32(x, y, 0, false));
}
template <bool E5M2, int BYTE> HIP_SHIM float from_fp8(uint32_t bytes) {
  return E5M2 ? __builtin_amdgcn_cvt_f32_bf8(bytes, BYTE) : __builtin_amdgcn_cvt_f32_fp8(bytes, BYTE);
}
template <bool E5M2> struct Fp8 {
  __hip_fp8_storage_t __x;
  Fp8() = default;
  template <typename T> __device__ explicit Fp8(T x) : __x(to_fp8<E5M2>(float(x), 0, __HIP_SATFINITE)) {}
  __device__ operator float() const { return from_fp8<E5M2, 0>(__x); }
};
template <bool E5M2> struct Fp8x2 {
  uint16_t __x;
  Fp8x2() = default;
  __device__ explicit Fp8x2(float2 v) : __x(to_fp8<E5M2>(v.x, v.y, __HIP_SATFINITE)) {}
  __device__ operator float2() const { return float2{from_fp8<E5M2, 0>(__x), from_fp8<E5M2, 1>(__x)}; }
};
template <bool E5M2> struct Fp8x4 {
  uint32_t __x;
  Fp8x4() = default;
  __device__ explicit Fp8x4(float4 v)
      : __x(to_fp8<E5M2>(v.x, v.y, __HIP_SATFINITE) | to_fp8<E5M2>(v.z, v.w, __HIP_SATFINITE) << 16) {}
  __device__ operator float4() const {
    return float4{from_fp8<E5M2, 0>(__x), from_fp8<E5M2, 1>(__x), from_fp8<E5M2, 2>(__x), from_fp8<E5M2, 3>(__x)};
  }
};
} // namespace hip_shim
typedef hip_shim::Fp8<false> HIP_SHIM_FP8(_e4m3);
typedef hip_shim::Fp8<true> HIP_SHIM_FP8(_e5m2);
typedef hip_shim::Fp8x2<false> HIP_SHIM_FP8(x2_e4m3);
typedef hip_shim::Fp8x2<true> HIP_SHIM_FP8(x2_e5m2);
typedef hip_shim::Fp8x4<false> HIP_SHIM_FP8(x4_e4m3);
typedef hip_shim::Fp8x4<true> HIP_SHIM_FP8(x4_e5m2);
#endif
