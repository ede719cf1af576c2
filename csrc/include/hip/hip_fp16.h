// half and bfloat16 by HIP's names: the compiler's own types, so that they convert and compute like any other.
#pragma once
#include <hip/hip_runtime.h>

#if defined(__CLANG_HIP_RUNTIME_WRAPPER_H__)
#include_next <hip/hip_fp16.h>
#else
typedef _Float16 __half;
typedef _Float16 half;
typedef _Float16 __half2 __attribute__((ext_vector_type(2)));
typedef __half2 half2;
#define HIP_SHIM_SMALL(T, T2, name)                                                                                              \
  HIP_SHIM T __float2##name(float x) { return T(x); }                                                                            \
  HIP_SHIM T __float2##name##_rn(float x) { return T(x); }                                                                       \
  HIP_SHIM T __double2##name(double x) { return T(x); }                                                                          \
  HIP_SHIM T __int2##name##_rn(int x) { return T(float(x)); }                                                                    \
  HIP_SHIM float __##name##2float(T x) { return float(x); }                                                                      \
  HIP_SHIM T __ushort_as_##name(ushort x) { return hip_shim_cast<T>(x); }                                                        \
  HIP_SHIM ushort __##name##_as_ushort(T x) { return hip_shim_cast<ushort>(x); }                                                 \
  HIP_SHIM T2 __halves2##name##2(T x, T y) { return T2{x, y}; }                                                                  \
  HIP_SHIM T2 __floats2##name##2_rn(float x, float y) { return T2{T(x), T(y)}; }                                                 \
  HIP_SHIM T2 __float22##name##2_rn(float2 v) { return T2{T(v.x), T(v.y)}; }                                                     \
  HIP_SHIM T2 __##name##2##name##2(T x) { return T2{x, x}; }                                                                     \
  HIP_SHIM T2 __float2##name##2_rn(float x) { return T2{T(x), T(x)}; }                                                           \
  HIP_SHIM float2 __##name##22float2(T2 v) { return float2{float(v.x), float(v.y)}; }                                            \
  HIP_SHIM T __low2##name(T2 v) { return v.x; }                                                                                  \
  HIP_SHIM T __high2##name(T2 v) { return v.y; }                                                                                 \
  HIP_SHIM float __low2float(T2 v) { return float(v.x); }                                                                        \
  HIP_SHIM float __high2float(T2 v) { return float(v.y); }                                                                       \
  HIP_SHIM T __hadd(T a, T b) { return a + b; }                                                                                  \
  HIP_SHIM T __hsub(T a, T b) { return a - b; }                                                                                  \
  HIP_SHIM T __hmul(T a, T b) { return a * b; }                                                                                  \
  HIP_SHIM T __hdiv(T a, T b) { return a / b; }                                                                                  \
  HIP_SHIM T __hneg(T a) { return -a; }                                                                                          \
  HIP_SHIM T __habs(T a) { return a < T(0) ? -a : a; }                                                                           \
  HIP_SHIM T __hfma(T a, T b, T c) { return T(fmaf(float(a), float(b), float(c))); }                                             \
  HIP_SHIM T __hmax(T a, T b) { return T(fmaxf(float(a), float(b))); }                                                           \
  HIP_SHIM T __hmin(T a, T b) { return T(fminf(float(a), float(b))); }                                                           \
  HIP_SHIM bool __heq(T a, T b) { return a == b; }                                                                               \
  HIP_SHIM bool __hne(T a, T b) { return a != b; }                                                                               \
  HIP_SHIM bool __hlt(T a, T b) { return a < b; }                                                                                \
  HIP_SHIM bool __hle(T a, T b) { return a <= b; }                                                                               \
  HIP_SHIM bool __hgt(T a, T b) { return a > b; }                                                                                \
  HIP_SHIM bool __hge(T a, T b) { return a >= b; }                                                                               \
  HIP_SHIM bool __hisnan(T a) { return a != a; }                                                                                 \
  HIP_SHIM T hexp(T a) { return T(expf(float(a))); }                                                                             \
  HIP_SHIM T hlog(T a) { return T(logf(float(a))); }                                                                             \
  HIP_SHIM T hsqrt(T a) { return T(sqrtf(float(a))); }                                                                           \
  HIP_SHIM T hrsqrt(T a) { return T(rsqrtf(float(a))); }                                                                         \
  HIP_SHIM T2 __hadd2(T2 a, T2 b) { return a + b; }                                                                              \
  HIP_SHIM T2 __hsub2(T2 a, T2 b) { return a - b; }                                                                              \
  HIP_SHIM T2 __hmul2(T2 a, T2 b) { return a * b; }                                                                              \
  HIP_SHIM T2 __hfma2(T2 a, T2 b, T2 c) { return T2{__hfma(a.x, b.x, c.x), __hfma(a.y, b.y, c.y)}; }
// clang-format off
HIP_SHIM_SMALL(__half, __half2, half);
// clang-format on
HIP_SHIM __half2 make_half2(__half x, __half y) { return __half2{x, y}; }
#endif
