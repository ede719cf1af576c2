// Mathematics of hip_runtime.h, without a device library. What the compiler expands itself (square roots, roundings, exp and log
// of fp32) is its own code, as with ROCm's library; everything else is written here in fp64, so instruction counts of those
// functions are not ROCm's. fp32 results are within one unit in the last place; fp64 ones within a few, but pow (|y log x| ulp).
// Sines and cosines hold for |x| < 2^30. The polynomials are Chebyshev fits.
#pragma once

#define INFINITY __builtin_huge_valf()
#define NAN __builtin_nanf("")
#define HUGE_VAL __builtin_huge_val()
#define FLT_MAX __FLT_MAX__
#define FLT_MIN __FLT_MIN__
#define FLT_EPSILON __FLT_EPSILON__
#define DBL_MAX __DBL_MAX__
#define DBL_EPSILON __DBL_EPSILON__
#define INT_MAX __INT_MAX__
#define INT_MIN (-__INT_MAX__ - 1)
#define UINT_MAX (~0u)
#define M_PI 3.14159265358979323846
#define M_PI_2 1.57079632679489661923
#define M_E 2.71828182845904523536
#define M_LN2 0.69314718055994530942
#define M_LOG2E 1.44269504088896340736
#define M_SQRT2 1.41421356237309504880
#define M_SQRT1_2 0.70710678118654752440

// Each function as HIP has it: name(double), name(float) and namef(float).
#define HIP_SHIM_MATH_1(name, f64, f32)                                                                                          \
  HIP_SHIM double name(double x) { return f64; }                                                                                 \
  HIP_SHIM float name(float x) { return f32; }                                                                                   \
  HIP_SHIM float name##f(float x) { return f32; }
#define HIP_SHIM_MATH_2(name, f64, f32)                                                                                          \
  HIP_SHIM double name(double x, double y) { return f64; }                                                                       \
  HIP_SHIM float name(float x, float y) { return f32; }                                                                          \
  HIP_SHIM float name##f(float x, float y) { return f32; }
#define HIP_SHIM_BUILTIN_1(name) HIP_SHIM_MATH_1(name, __builtin_##name(x), __builtin_##name##f(x))
#define HIP_SHIM_BUILTIN_2(name) HIP_SHIM_MATH_2(name, __builtin_##name(x, y), __builtin_##name##f(x, y))

// clang-format off
HIP_SHIM_BUILTIN_1(fabs) HIP_SHIM_BUILTIN_1(sqrt) HIP_SHIM_BUILTIN_1(floor) HIP_SHIM_BUILTIN_1(ceil) HIP_SHIM_BUILTIN_1(trunc)
HIP_SHIM_BUILTIN_1(rint) HIP_SHIM_BUILTIN_1(nearbyint) HIP_SHIM_BUILTIN_1(round) HIP_SHIM_BUILTIN_2(fmax)
HIP_SHIM_BUILTIN_2(fmin) HIP_SHIM_BUILTIN_2(fmod) HIP_SHIM_BUILTIN_2(copysign);
// clang-format on
HIP_SHIM double fma(double x, double y, double z) { return __builtin_fma(x, y, z); }
HIP_SHIM float fma(float x, float y, float z) { return __builtin_fmaf(x, y, z); }
HIP_SHIM float fmaf(float x, float y, float z) { return __builtin_fmaf(x, y, z); }
HIP_SHIM float __fmaf_rn(float x, float y, float z) { return __builtin_fmaf(x, y, z); }
HIP_SHIM double ldexp(double x, int e) { return __builtin_amdgcn_ldexp(x, e); }
HIP_SHIM float ldexpf(float x, int e) { return __builtin_amdgcn_ldexpf(x, e); }
template <typename T> HIP_SHIM bool isnan(T x) { return x != x; }
template <typename T> HIP_SHIM bool isinf(T x) { return __builtin_isinf(x); }
template <typename T> HIP_SHIM bool isfinite(T x) { return __builtin_isfinite(x); }
template <typename T> HIP_SHIM bool signbit(T x) { return __builtin_signbit(x); }
HIP_SHIM int abs(int x) { return x < 0 ? -x : x; }
HIP_SHIM long abs(long x) { return x < 0 ? -x : x; }
HIP_SHIM longlong abs(longlong x) { return x < 0 ? -x : x; }
HIP_SHIM float abs(float x) { return fabsf(x); }
HIP_SHIM double abs(double x) { return fabs(x); }

namespace hip_shim {
HIP_SHIM double horner(double, double c) { return c; }
// Coefficients from the lowest power up.
template <typename... Rest> HIP_SHIM double horner(double x, double c, double d, Rest... rest) {
  return __builtin_fma(x, horner(x, d, rest...), c);
}
// e^r - 1, |r| <= ln 2 / 2
HIP_SHIM double expm1_small(double r) {
  return __builtin_fma(r * r,
                       horner(r, 0.5, 0.16666666666666671, 0.0416666666666666698, 0.00833333333332614088, 0.00138888888888837524,
                              0.00019841269874800492, 0.0000248015873255333638, 2.75572554257464343e-6, 2.75572736613486362e-7,
                              2.51052063739570111e-8, 2.09146793765839351e-9),
                       r);
}
HIP_SHIM double exp(double x) {
  const double k = __builtin_rint(x * M_LOG2E), r = fma(k, -2.3190468138462996e-17, fma(k, -0.6931471805599453, x));
  const double y = ldexp(1 + expm1_small(r), int(k));
  return x > 709.8 ? HUGE_VAL : x < -745.2 ? 0 : y;
}
HIP_SHIM double expm1(double x) { return __builtin_fabs(x) < 0.34 ? expm1_small(x) : exp(x) - 1; }
HIP_SHIM double log(double x) {
  double m = __builtin_amdgcn_frexp_mant(x);
  int e = __builtin_amdgcn_frexp_exp(x);
  if (m < M_SQRT1_2)
    m *= 2, --e;
  const double f = (m - 1) / (m + 1), s = f * f;
  const double small = s * f *
                       horner(s, 0.666666666666666664, 0.400000000000009413, 0.285714285707644501, 0.222222224005477573,
                              0.181817947008977996, 0.15386290534658992, 0.132674185964748834, 0.131007213835034914);
  const double y = fma(e, 0.6931471805599453, fma(e, 2.3190468138462996e-17, small) + 2 * f);
  return x > 0 ? (x < HUGE_VAL ? y : x) : x == 0 ? -HUGE_VAL : NAN;
}
HIP_SHIM double log1p(double x) {
  const double u = 1 + x;
  return u < HUGE_VAL && u > 0 ? log(u) + (x - (u - 1)) / u : log(u);
}
HIP_SHIM double tanh(double x) {
  const double e = expm1(2 * fmin(fmax(x, -20.0), 20.0));
  return isnan(x) ? x : e / (e + 2);
}
HIP_SHIM double sinh(double x) {
  const double e = expm1(__builtin_fabs(x));
  return __builtin_copysign(e < HUGE_VAL ? (e + e / (e + 1)) / 2 : e, x);
}
// The sine of x + quarter * pi / 2.
HIP_SHIM double sine(double x, int quarter) {
  const double k = __builtin_rint(x * 0.6366197723675814);
  const double r = fma(k, 1.4973849048591698e-33, fma(k, -6.123233995736766e-17, fma(k, -1.5707963267948966, x))), s = r * r;
  const double sin =
      fma(s * r,
          horner(s, -0.166666666666666667, 0.00833333333333333138, -0.000198412698412648216, 2.75573192191507816e-6,
                 -2.50521061673357064e-8, 1.60585213499549863e-10, -7.58609478967262007e-13),
          r);
  const double cos =
      fma(s * s,
          horner(s, 0.0416666666666666667, -0.00138888888888888878, 0.0000248015873015845111, -2.7557319221298087e-7,
                 2.08767557548795964e-9, -1.14704551782169066e-11, 4.74553701731925837e-14),
          fma(s, -0.5, 1.0));
  const int q = int(k) + quarter;
  const double y = q & 1 ? cos : sin;
  return isinf(x) ? NAN : q & 2 ? -y : y;
}
HIP_SHIM double atan(double x) {
  const double a = __builtin_fabs(x), inverse = a > 1 ? 1 / a : a, f = inverse / (1 + __builtin_sqrt(fma(inverse, inverse, 1.0)));
  const double s = f * f;
  const double half = fma(s * f,
                          horner(s, -0.333333333333333298, 0.199999999999950903, -0.142857142845772173, 0.111111110081078738,
                                 -0.0909090428912851628, 0.0769217651079592804, -0.0666441782418695507, 0.0585733967613852473,
                                 -0.0508123616464254243, 0.0391105367434761296, -0.0190292908097431362),
                          f);
  return __builtin_copysign(a > 1 ? M_PI_2 - 2 * half : 2 * half, x);
}
HIP_SHIM double atan2(double y, double x) {
  const double a = x == 0 && y == 0 ? 0 : isinf(x) && isinf(y) ? M_PI / 4 : atan(__builtin_fabs(y / x));
  return isnan(x) || isnan(y) ? NAN : __builtin_copysign(signbit(x) ? M_PI - a : a, y);
}
// e^(x^2) erfc(x), x >= 1
HIP_SHIM double erfcx(double x) {
  const double t = 1 / (x + 2);
  return t * horner(t, 0.564189583458988718, 1.12837918213191184, 1.97466239169228307, 2.82100078903748111, 2.67826559586222726,
                    -0.245946203679547506, -7.85636638018001938, -6.32446769757947394, -72.0485822415966915, 565.963564222059105,
                    -2798.74213586593638, 12436.4902996758175, -40171.8959571516758, 86734.7682598169421, -122805.77595168332,
                    109786.584211393824, -55933.9653499792733, 12169.9032059649253);
}
HIP_SHIM double erf_small(double x) {
  const double s = x * x;
  return x * horner(s, 1.12837916709551257, -0.376126389031835404, 0.112837916709450063, -0.0268661706432377704,
                    0.00522397760711642273, -0.000854832597538969208, 0.000120552949048397079, -0.0000149247369074196603,
                    1.64474247033173624e-6, -1.62084838018717059e-7, 1.37200645467776856e-8, -7.79589882700214224e-10);
}
HIP_SHIM double erfc(double x) {
  const double a = __builtin_fabs(x), tail = a < 27.5 ? exp(-a * a) * erfcx(a) : 0;
  return a < 1 || isnan(x) ? 1 - erf_small(x) : x > 0 ? tail : 2 - tail;
}
HIP_SHIM double erf(double x) { return __builtin_fabs(x) < 1 || isnan(x) ? erf_small(x) : 1 - erfc(x); }
HIP_SHIM double pow(double x, double y) {
  const bool whole = __builtin_rint(y) == y, odd = whole && __builtin_fabs(y) < 0x1p53 && (int64_t(y) & 1);
  const double size = exp(y * log(__builtin_fabs(x)));
  return y == 0 || x == 1 ? 1 : x < 0 && !whole && x > -HUGE_VAL ? NAN : odd ? __builtin_copysign(size, x) : size;
}
HIP_SHIM double cbrt(double x) { return __builtin_copysign(exp(log(__builtin_fabs(x)) / 3), x); }
} // namespace hip_shim

#define HIP_SHIM_OWN_1(name) HIP_SHIM_MATH_1(name, hip_shim::name(x), float(hip_shim::name(double(x))))
#define HIP_SHIM_OWN_2(name) HIP_SHIM_MATH_2(name, hip_shim::name(x, y), float(hip_shim::name(double(x), double(y))))
// clang-format off
HIP_SHIM_MATH_1(exp, hip_shim::exp(x), __builtin_expf(x)) HIP_SHIM_MATH_1(log, hip_shim::log(x), __builtin_logf(x))
HIP_SHIM_MATH_1(exp2, hip_shim::exp(x* M_LN2), __builtin_exp2f(x))
HIP_SHIM_MATH_1(log2, hip_shim::log(x) * M_LOG2E, __builtin_log2f(x))
HIP_SHIM_MATH_1(exp10, hip_shim::exp(x * 2.302585092994046), __builtin_exp10f(x))
HIP_SHIM_MATH_1(log10, hip_shim::log(x) * 0.4342944819032518, __builtin_log10f(x))
HIP_SHIM_MATH_1(rsqrt, 1 / __builtin_sqrt(x), __builtin_amdgcn_rsqf(x))
HIP_SHIM_MATH_1(rcbrt, 1 / hip_shim::cbrt(x), float(1 / hip_shim::cbrt(x)))
HIP_SHIM_OWN_1(cbrt)
HIP_SHIM_MATH_1(sin, hip_shim::sine(x, 0), float(hip_shim::sine(x, 0)))
HIP_SHIM_MATH_1(cos, hip_shim::sine(x, 1), float(hip_shim::sine(x, 1)))
HIP_SHIM_MATH_1(tan, sin(x) / cos(x), float(hip_shim::sine(x, 0) / hip_shim::sine(x, 1)))
HIP_SHIM_MATH_1(cosh, (hip_shim::exp(x) + hip_shim::exp(-x)) / 2, float((hip_shim::exp(x) + hip_shim::exp(-x)) / 2))
HIP_SHIM_OWN_1(expm1) HIP_SHIM_OWN_1(log1p) HIP_SHIM_OWN_1(tanh) HIP_SHIM_OWN_1(sinh) HIP_SHIM_OWN_1(atan) HIP_SHIM_OWN_1(erf)
HIP_SHIM_OWN_1(erfc) HIP_SHIM_OWN_2(atan2) HIP_SHIM_OWN_2(pow)
HIP_SHIM_MATH_1(asin, atan2(x, sqrt((1 - x) * (1 + x))), float(hip_shim::atan2(x, sqrt((1 - double(x)) * (1 + double(x))))))
HIP_SHIM_MATH_1(acos, atan2(sqrt((1 - x) * (1 + x)), x), float(hip_shim::atan2(sqrt((1 - double(x)) * (1 + double(x))), x)))
HIP_SHIM_MATH_2(hypot, sqrt(fma(x, x, y* y)), float(sqrt(fma(double(x), double(x), double(y) * y))));
// clang-format on
template <typename T> HIP_SHIM void sincosf(T x, T* s, T* c) { *s = sin(x), *c = cos(x); }
template <typename T> HIP_SHIM void sincos(T x, T* s, T* c) { *s = sin(x), *c = cos(x); }

// The fast ones: the instruction itself.
HIP_SHIM float __expf(float x) { return __builtin_amdgcn_exp2f(x * 1.44269504f); }
HIP_SHIM float __exp10f(float x) { return __builtin_amdgcn_exp2f(x * 3.32192809f); }
HIP_SHIM float __logf(float x) { return __builtin_amdgcn_logf(x) * 0.69314718f; }
HIP_SHIM float __log2f(float x) { return __builtin_amdgcn_logf(x); }
HIP_SHIM float __log10f(float x) { return __builtin_amdgcn_logf(x) * 0.30103000f; }
HIP_SHIM float __sinf(float x) { return __builtin_amdgcn_sinf(__builtin_amdgcn_fractf(x * 0.15915494f)); }
HIP_SHIM float __cosf(float x) { return __builtin_amdgcn_cosf(__builtin_amdgcn_fractf(x * 0.15915494f)); }
HIP_SHIM float __powf(float x, float y) { return __builtin_amdgcn_exp2f(y * __builtin_amdgcn_logf(x)); }
HIP_SHIM float __fdividef(float x, float y) { return x * __builtin_amdgcn_rcpf(y); }
HIP_SHIM float __frcp_rn(float x) { return 1 / x; }
HIP_SHIM float __fsqrt_rn(float x) { return sqrtf(x); }
HIP_SHIM float __frsqrt_rn(float x) { return rsqrtf(x); }
HIP_SHIM float __saturatef(float x) { return __builtin_amdgcn_fmed3f(x, 0.f, 1.f); }
HIP_SHIM int __float2int_rn(float x) { return int(rintf(x)); }
HIP_SHIM int __float2int_rz(float x) { return int(x); }
HIP_SHIM int __float2int_rd(float x) { return int(floorf(x)); }
HIP_SHIM int __float2int_ru(float x) { return int(ceilf(x)); }
HIP_SHIM uint __float2uint_rn(float x) { return uint(rintf(x)); }
HIP_SHIM float __int2float_rn(int x) { return float(x); }
HIP_SHIM float __uint2float_rn(uint x) { return float(x); }

// The two of different types compare in the type that they convert to.
template <typename A, typename B> HIP_SHIM auto max(A a, B b) -> decltype(a + b) { return a > b ? a : b; }
template <typename A, typename B> HIP_SHIM auto min(A a, B b) -> decltype(a + b) { return a < b ? a : b; }
HIP_SHIM float max(float a, float b) { return fmaxf(a, b); }
HIP_SHIM float min(float a, float b) { return fminf(a, b); }
HIP_SHIM double max(double a, double b) { return fmax(a, b); }
HIP_SHIM double min(double a, double b) { return fmin(a, b); }

namespace std {
using ::abs, ::fabs, ::sqrt, ::floor, ::ceil, ::trunc, ::rint, ::round, ::fmax, ::fmin, ::fmod, ::copysign, ::fma, ::ldexp;
using ::atan, ::atan2, ::sinh, ::cosh, ::tanh, ::erf, ::erfc, ::isnan, ::isinf, ::isfinite, ::signbit, ::max, ::min;
using ::exp, ::exp2, ::expm1, ::log, ::log2, ::log10, ::log1p, ::pow, ::cbrt, ::hypot, ::sin, ::cos, ::tan, ::asin, ::acos;
} // namespace std
