// Numbers other than fp32: f16, fp64, the small floats of 4 to 16 bits, and the steps of a division.
#pragma once
#include "lanes.h"

#define SHARED static __attribute__((noinline))   // long, and used by many rows: called, so that the engine compiles fast
#define SHARED_MANY static __attribute__((noinline, overloadable))

// A small float: bits of the mantissa and of the whole, the exponent's bias, the largest number's code, those of what overflows
// and of NaN. OCP's e4m3, e3m2, e2m3 and e2m1 have no infinity, and the last three no NaN: there both give the largest number.
typedef struct { u32 m, bits, bias, max, over, nan; } Small;
#define HALF ((Small){10, 16, 15, 0x7bff, 0x7c00, 0x7e00})
#define BF16 ((Small){7, 16, 127, 0x7f7f, 0x7f80, 0x7fc0})
#define FP8 ((Small){3, 8, 7, 0x7e, 0x7f, 0x7f})
#define BF8 ((Small){2, 8, 15, 0x7b, 0x7c, 0x7f})
#define FP6 ((Small){3, 6, 1, 0x1f, 0x1f, 0x1f})
#define BF6 ((Small){2, 6, 3, 0x1f, 0x1f, 0x1f})
#define FP4 ((Small){1, 4, 1, 7, 7, 7})

// Rounded to nearest even; `noise` instead: its high bits are added to those that are dropped, and the sum is truncated.
SHARED uv round_small(fv x, Small s, const uv* noise) {
  u32 d = 23 - s.m;
  uv a = (uv)x & 0x7fffffffu, extra = noise ? *noise >> (9 + s.m) : ((1u << (d - 1)) - 1) + (a >> d & 1u);
  uv normal = ((a + extra) >> d) - ((127 - s.bias) << s.m);
  Fv steps = to_F((fv)a) * (Fv)(Uv)((u64)(1022 + s.bias + s.m) << 52);
  uv tiny = to_u(noise ? trunc(steps + to_F(extra) * (1.0 / (1u << d))) : rndne(steps));
  uv r = select((iv)(a < (128 - s.bias) << 23), tiny, normal);
  r = select((iv)(r > s.max), splat(s.over), r);
  return select((iv)(a > 0x7f800000u), splat(s.nan), r | (uv)x >> 31 << (s.bits - 1));
}
INLINE uv to_small(fv x, Small s) { return round_small(x, s, 0); }
INLINE uv to_small_sr(fv x, Small s, uv noise) { return round_small(x, s, &noise); }
SHARED fv from_small(uv x, Small s) {   // exact; NaNs keep their kind and payload
  u32 d = 23 - s.m;
  uv sign = x >> (s.bits - 1) << 31, a = x & ((1u << (s.bits - 1)) - 1);
  uv normal = (a << d) + ((127 - s.bias) << 23);
  uv tiny = (uv)(to_f((iv)a) * (fv)splat((128 - s.bias - s.m) << 23));
  uv r = select((iv)(a < 1u << s.m), tiny, normal);
  return (fv)(sign | select((iv)(a > s.max), a << d | 0x7f800000u, r));
}

// ---- f16: in fp32, where a sum, product or root rounded twice is as rounded once ---------------------------------
INLINE fv h_to_f(uv x) { return from_small(x & 0xffffu, HALF); }
INLINE uv f_to_h(fv x) { return to_small(x, HALF); }
SHARED uv f_to_h_zero(fv x) {   // rounded toward zero: an infinity stays one, what is too large does not become one
  uv a = (uv)x & 0x7fffffffu;
  uv tiny = to_u((fv)a * 16777216.0f), r = select((iv)(a < 113u << 23), tiny, (a - (112u << 23)) >> 13);
  r = select((iv)(a >= 143u << 23), splat(0x7bff), r);
  r = select((iv)(a >= 0x7f800000u), select((iv)(a > 0x7f800000u), splat(0x7e00), splat(0x7c00)), r);
  return r | (uv)x >> 31 << 15;
}
INLINE fv to_f_odd(Fv x) {   // truncated, the last bit set where anything was lost: rounds as one when rounded again
  fv r = to_f(x);
  Fv back = to_F(r);
  iv lost = to_i(back != x), above = to_i(__builtin_elementwise_abs(back) > __builtin_elementwise_abs(x));
  return (fv)select(lost, (uv)(r) + (uv)above | 1u, (uv)r);
}
SHARED fv fma_h(fv a, fv b, fv c) { return to_f_odd(to_F(a) * to_F(b) + to_F(c)); }
INLINE fv fract_h(fv x) { fv r = x - floor(x); return r > 0.99951171875f ? (fv)0.99951171875f : r; }
INLINE void get_H(Wave* w, u32 o, fv* lo, fv* hi) { uv x = get_u(w, o); *lo = h_to_f(x); *hi = h_to_f(x >> 16); }
INLINE void put_H(Wave* w, u32 o, fv lo, fv hi) { put_u(w, o, f_to_h(lo) | f_to_h(hi) << 16); }
INLINE void get_E(Wave* w, u32 o, fv* lo, fv* hi) { uv x = get_u(w, o); *lo = (fv)(x << 16); *hi = (fv)(x & 0xffff0000u); }
INLINE uv get_w(Wave* w, u32 o) { return get_u(w, o) & 0xffffu; }
INLINE iv get_j(Wave* w, u32 o) { return get_i(w, o) << 16 >> 16; }
INLINE fv get_h(Wave* w, u32 o) { return h_to_f(get_u(w, o)); }
INLINE fv get_b(Wave* w, u32 o) { return bf16_to_f(get_u(w, o) & 0xffffu); }
INLINE void put_w(Wave* w, u32 o, uv x) { put_u(w, o, x & 0xffffu); }
INLINE void put_j(Wave* w, u32 o, iv x) { put_w(w, o, (uv)x); }
INLINE void put_h(Wave* w, u32 o, fv x) { put_u(w, o, f_to_h(x)); }
#define get_g get_w
#define put_g put_w
#define get_y(w, o) (get_u(w, o) & 0xffu)
#define put_y(w, o, x) put_u(w, o, (x) & 0xffu)

// ---- block-scaled conversions: the scale is the exponent field of a float, 255 is NaN ------------------------------
INLINE Fv scale_of(uv s, i32 sign) {
  Iv e = to_I((iv)(s >> 23 & 255u));
  return e == 255 ? (Fv)__builtin_nan("") : pow2((e - 127) * sign);
}
SHARED fv scale_up(fv x, uv s) { return to_f(to_F(x) * scale_of(s, 1)); }
SHARED fv scale_down(fv x, uv s) { return to_f_odd(to_F(x) * scale_of(s, -1)); }
INLINE uv prng(uv x) { return x << 1 ^ ((uv)((iv)x >> 31) & 197u); }
#define ELEMENT_f(off, k) AT(fv, w, (off) + 256 * (k))
#define ELEMENT_h(off, k) h_to_f(AT(uv, w, (off) + 256 * ((k) / 2)) >> 16 * ((k) & 1))
#define ELEMENT_b(off, k) bf16_to_f(AT(uv, w, (off) + 256 * ((k) / 2)) >> 16 * ((k) & 1) & 0xffffu)
#define PACK_h(x) f_to_h(x)
#define PACK_b(x) f_to_bf16(x)
// 32 six-bit floats in six registers. To them: SOURCE(k) is the k-th number, NEXT_NOISE what follows each.
#define TO_SIX(S, SCALE, SOURCE, ROUND, AFTER)                                                       \
  uv scale = get_u(w, SCALE), packed[7] = {0};                                                       \
  for (u32 k = 0; k < 32; ++k) {                                                                     \
    uv code = ROUND(scale_down(SOURCE, scale), S);                                                   \
    packed[6 * k / 32] |= code << 6 * k % 32;                                                        \
    if (6 * k % 32 > 26) packed[6 * k / 32 + 1] |= code >> (32 - 6 * k % 32);                        \
    AFTER;                                                                                           \
  }                                                                                                  \
  for (u32 k = 0; k < 6; ++k) put_u(w, o->o[0] + 256 * k, packed[k]);                                \
  NEXT
#define PACK_SIX(S, T) TO_SIX(S, o->o[2], ELEMENT_##T(o->o[1], k), to_small, )
#define PACK_SIX_TWO(S) TO_SIX(S, o->o[3], ELEMENT_f(o->o[1 + k % 2], k / 2), to_small, )
#define ROUND_NOISY(x, s) to_small_sr(x, s, noise)
#define PACK_SIX_SR(S, T) uv noise = get_u(w, o->o[2]); TO_SIX(S, o->o[3], ELEMENT_##T(o->o[1], k), ROUND_NOISY, noise = prng(noise))
#define SIX(k) (in[6 * (k) / 32] >> 6 * (k) % 32 | (6 * (k) % 32 > 26 ? in[6 * (k) / 32 + 1] << (32 - 6 * (k) % 32) : splat(0)))
#define UNPACK_SIX(S, N, VALUE)                                                                      \
  uv in[7] = {0}, scale = get_u(w, o->o[2]);                                                         \
  for (u32 k = 0; k < 6; ++k) in[k] = AT(uv, w, o->o[1] + 256 * k);                                  \
  for (u32 i = 0; i < N; ++i) put_u(w, o->o[0] + 256 * i, VALUE);                                    \
  NEXT
#define SIX_VALUE(S, k) scale_up(from_small(SIX(k) & 63u, S), scale)
#define UNPACK_SIX_f(S) UNPACK_SIX(S, 32, (uv)SIX_VALUE(S, i))
#define UNPACK_SIX_h(S) UNPACK_SIX(S, 16, f_to_h(SIX_VALUE(S, 2 * i)) | f_to_h(SIX_VALUE(S, 2 * i + 1)) << 16)
#define UNPACK_SIX_b(S) UNPACK_SIX(S, 16, f_to_bf16(SIX_VALUE(S, 2 * i)) | f_to_bf16(SIX_VALUE(S, 2 * i + 1)) << 16)

// ---- fp64 ----------------------------------------------------------------------------------------------------------
MANY Iv is_snan(Fv x) { return is_nan(x) & (((Uv)x & 1ull << 51) == 0); }
MANY Fv quiet(Fv x) { return (Fv)((Uv)x | 1ull << 51); }
MANY Fv fmin2(Fv a, Fv b) {
  Fv r = ((a < b) | is_nan(b)) ? a : b;
  r = a == b ? (Fv)((Uv)a | (Uv)b) : r;
  return is_snan(a) ? quiet(a) : is_snan(b) ? quiet(b) : r;
}
MANY Fv fmax2(Fv a, Fv b) {
  Fv r = ((a > b) | is_nan(b)) ? a : b;
  r = a == b ? (Fv)((Uv)a & (Uv)b) : r;
  return is_snan(a) ? quiet(a) : is_snan(b) ? quiet(b) : r;
}
MANY Fv fract(Fv x) { Fv r = x - floor(x), most = (Fv)(Uv)0x3fefffffffffffffull; return r > most ? most : r; }
INLINE Iv ordinary(Fv x) { return (x != 0.0) & (__builtin_elementwise_abs(x) < __builtin_inf()); }
INLINE Fv normalised(Fv x, Iv* e) {   // x * 2^e, never denormal
  Iv tiny = __builtin_elementwise_abs(x) < 0x1p-1022;
  *e = tiny & -64;
  return tiny ? x * 0x1p64 : x;
}
SHARED Iv frexp_exp(Fv x) {   // |x| = m * 2^e with 0.5 <= m < 1; 0 where there is none
  Iv e;
  Uv y = (Uv)normalised(x, &e);
  return ordinary(x) ? (Iv)(y >> 52 & 0x7ff) - 1022 + e : (Iv)0;
}
SHARED Fv frexp_mant(Fv x) {
  Iv e;
  Uv y = (Uv)normalised(x, &e);
  return ordinary(x) ? (Fv)((y & ~(0x7ffull << 52)) | 1022ull << 52) : is_nan(x) ? quiet(x) : x;
}
SHARED_MANY Fv ldexp(Fv x, Iv n) {   // rounded once: the last step is the only one that may be inexact
  Iv e = frexp_exp(x) + n;
  e = e < -1200 ? (Iv)-1200 : e > 1100 ? (Iv)1100 : e;
  Iv last = e < 0 ? (Iv)-200 : (Iv)100;
  return ordinary(x) ? frexp_mant(x) * pow2(e - last) * pow2(last) : x;
}
INLINE iv F_to_i(Fv x) {
  Fv t = x < -2147483648.0 ? (Fv)-2147483648.0 : x > 2147483647.0 ? (Fv)2147483647.0 : x;
  return to_i(is_nan(x) ? (Fv)0.0 : t);
}
INLINE uv F_to_u(Fv x) {
  Fv t = x < 0.0 ? (Fv)0.0 : x > 4294967295.0 ? (Fv)4294967295.0 : x;
  return to_u(is_nan(x) ? (Fv)0.0 : t);
}

// ---- v_cmp_class: the mask's bits are sNaN, qNaN, -inf, -normal, -denormal, -0, +0, +denormal, +normal, +inf -------
#define CLASS(T, BITS, MANTISSA)                                                                     \
  T one = (T)1, sign = one << (BITS - 1), inf = (sign - 1) >> MANTISSA << MANTISSA, a = x & (sign - 1); \
  T k = a == inf ? (T)9 : a >> MANTISSA != 0 ? (T)8 : a != 0 ? (T)7 : (T)6;                          \
  k = x >= sign ? 11 - k : k;                                                                        \
  k = a > inf ? x >> (MANTISSA - 1) & 1 : k
INLINE uv float_class(fv f) { uv x = (uv)f; CLASS(uv, 32, 23); return 1u << k; }
INLINE uv half_class(uv x) { CLASS(uv, 16, 10); return 1u << k; }
INLINE uv double_class(Fv f) { Uv x = (Uv)f; CLASS(Uv, 64, 52); return 1u << to_u(k); }

// ---- division: div_scale keeps numerator and denominator away from the ends of the range and says whether div_fmas must
// scale the quotient back, div_fixup puts in what is special. The manual's text of div_fmas scales by 2^32 and that of
// div_scale lets a huge denominator overflow, so that no quotient would come out; here they undo each other, and the compiler's
// sequence gives the correctly rounded quotient.
#define DIVISION(T, I, U, M, LIMIT, STEP, SMALLEST, LARGE)                                           \
  SHARED_MANY T div_scale(T s, T d, T n, I* flag) {                                                         \
    I field = (I)((U)0 - 1) & (I)(((U)1 << (sizeof(s[0]) * 8 - 1 - M)) - 1);                         \
    I ed = (I)((U)d >> M) & field, en = (I)((U)n >> M) & field;                                      \
    T q = __builtin_elementwise_abs(n / d), ad = __builtin_elementwise_abs(d);                       \
    I q_tiny = (q != 0) & (q < SMALLEST), r_tiny = (ad > LARGE) & (ed != field);                     \
    I k = en <= M + M / 52 ? (I)STEP : (I)0;                                                                 \
    *flag = q_tiny;                                                                                  \
    k = q_tiny ? (s == n ? (I)STEP : (I)0) : k;                                                      \
    k = r_tiny ? ((q_tiny & (s != d)) ? (I)0 : (I)-STEP) : k;                                          \
    I tiny = ed == 0, far = en - ed >= LIMIT;                                                        \
    k = tiny ? (I)STEP : k;                                                                          \
    k = far ? (s == d ? (I)STEP : (I)0) : k; *flag |= far;                                           \
    I zero = (d == 0) | (n == 0);                                                                    \
    *flag &= ~zero;                                                                                  \
    return zero ? (T)__builtin_nan("") : ldexp(s, k);                                                \
  }                                                                                                  \
  SHARED_MANY T div_fixup(T q, T d, T n, i32 least) {                                                       \
    U bit = (U)1 << (sizeof(q[0]) * 8 - 1), sign = ((U)d ^ (U)n) & bit;                              \
    T inf = (T)__builtin_inf(), ad = __builtin_elementwise_abs(d), an = __builtin_elementwise_abs(n); \
    U r = (U)__builtin_elementwise_abs(q);                                                           \
    r = (is_nan(q) & (an > ad)) ? (U)inf : r; /* the steps before overflowed: inf - inf */             \
    r = (I)((U)an >> M) - (I)((U)ad >> M) < least ? (U)0 : r;                                        \
    r = ((ad == inf) | (n == 0)) ? (U)0 : r;                                                         \
    r = ((d == 0) | (an == inf)) ? (U)inf : r;                                                       \
    T done = (T)(r | sign);                                                                          \
    done = (((d == 0) & (n == 0)) | ((ad == inf) & (an == inf))) ? (T)__builtin_nan("") : done;      \
    return is_nan(n) ? quiet(n) : is_nan(d) ? quiet(d) : done;                                       \
  }
DIVISION(fv, iv, uv, 23, 96, 64, 0x1p-126f, 0x1p126f)
DIVISION(Fv, Iv, Uv, 52, 768, 128, 0x1p-1022, 0x1p1022)
MANY Fv div_fmas(Fv a, Fv b, Fv c, Iv flag) {
  Fv r = fma(a, b, c);
  return ldexp(r, flag & (__builtin_elementwise_abs(c) >= 2.0 ? (Iv)128 : (Iv)-128));
}
MANY fv div_fmas(fv a, fv b, fv c, iv flag) {   // scaled before the one rounding
  Fv p = to_F(a) * to_F(b), z = to_F(c), s = p + z, t = s - p, error = (p - (s - t)) + (z - t);
  Uv odd = (Uv)s + (Uv)((error < 0.0) != (s < 0.0)) | 1;
  s = ((error != 0.0) & ordinary(s)) ? (Fv)odd : s;
  fv scaled = to_f(s * pow2(to_I(__builtin_elementwise_abs(c) >= 2.0f ? (iv)64 : (iv)-64)));
  return flag ? scaled : fma(a, b, c);
}

// ---- sine and cosine of whole turns, through double; the manual gives 0 and 1 beyond 256 turns -----------------------
INLINE Fv sin_turns(Fv t) {   // |t| <= 0.25
  Fv y = t * 6.28318530717958647693, y2 = y * y, p = (Fv)0.0;
#pragma clang loop unroll(full)
  for (int k = 21; k >= 3; k -= 2) p = (1.0 - p) * y2 / (k * (k - 1));
  return y * (1.0 - p);
}
SHARED fv sinv(fv x) {
  Fv t = to_F(x) - rndne(to_F(x)), a = __builtin_elementwise_abs(t);
  fv r = to_f(sin_turns(a > 0.25 ? (t < 0.0 ? -0.5 - t : 0.5 - t) : t));
  return __builtin_elementwise_abs(x) > 256.0f ? x * 0.0f : r;
}
SHARED fv cosv(fv x) {
  Fv t = to_F(x) - rndne(to_F(x));
  fv r = to_f(sin_turns(0.25 - __builtin_elementwise_abs(t)));
  return __builtin_elementwise_abs(x) > 256.0f ? x * 0.0f + 1.0f : r;
}

// ---- integers --------------------------------------------------------------------------------------------------------
SHARED uv dot_u(uv a, uv b, u32 bits) {
  uv r = splat(0), mask = splat((1u << bits) - 1);
  for (u32 at = 0; at < 32; at += bits) r += (a >> at & mask) * (b >> at & mask);
  return r;
}
SHARED iv dot_i(uv a, uv b, u32 bits) {
  iv r = (iv)splat(0);
  for (u32 at = 0; at < 32; at += bits) r += ((iv)(a << (32 - bits - at)) >> (32 - bits)) * ((iv)(b << (32 - bits - at)) >> (32 - bits));
  return r;
}
SHARED uv sad(uv a, uv b, u32 bits, u32 masked) {   // sum of absolute differences; masked: none where b is 0
  uv r = splat(0), mask = splat(bits < 32 ? (1u << bits % 32) - 1 : ~0u);
  for (u32 at = 0; at < 32; at += bits) {
    uv x = a >> at & mask, y = b >> at & mask;
    r += select((iv)(y == 0u) & (iv)splat(-masked), splat(0), umax(x, y) - umin(x, y));
  }
  return r;
}
INLINE uv saturate(iv x, i32 low, i32 high) { return (uv)umin(umax(x, (iv)low), (iv)high); }
SHARED Uv qsad(Uv a, uv b, Uv c, u32 masked) {   // four sums, of a's bytes from the k-th on
  Uv r = (Uv)0;
  for (u32 k = 0; k < 4; ++k) r |= (to_U(sad(to_u(a >> 8 * k), b, 8, masked)) + (c >> 16 * k) & 0xffff) << 16 * k;
  return r;
}
#define MQSAD                                                                                        \
  Uv a = get_U(w, o->o[1]);                                                                          \
  uv b = get_u(w, o->o[2]), r[4];                                                                    \
  for (u32 k = 0; k < 4; ++k) r[k] = sad(to_u(a >> 8 * k), b, 8, 1) + AT(uv, w, o->o[3] + 256 * k);  \
  for (u32 k = 0; k < 4; ++k) put_u(w, o->o[0] + 256 * k, r[k]);                                     \
  NEXT

// ---- graphics' leftovers ---------------------------------------------------------------------------------------------
// The face of a cube that (a, b, c) points to, by its largest component; a later one wins where two are alike.
INLINE fv cube(fv a, fv b, fv c, fv on_c, fv on_b, fv on_a) {
  fv x = __builtin_elementwise_abs(a), y = __builtin_elementwise_abs(b), z = __builtin_elementwise_abs(c);
  return ((z >= x) & (z >= y)) ? on_c : y >= x ? on_b : on_a;
}
INLINE fv below(fv x) { return x < 0.0f ? (fv)1.0f : (fv)0.0f; }
INLINE fv against(fv sign, fv x) { return sign < 0.0f ? -x : x; }
INLINE fv within(fv x, f32 low, f32 high) {   // NaN is 0
  x = x < low ? (fv)low : x > high ? (fv)high : x;
  return is_nan(x) ? (fv)0.0f : x;
}
INLINE uv normed(fv x, f32 low) { return (uv)to_i(rndne(within(x, low, 1.0f) * (low < 0.0f ? 32767.0f : 65535.0f))) & 0xffffu; }
INLINE uv byte_of(uv old, fv x, uv place) {
  uv shift = (place & 3u) << 3;
  return (old & ~((uv)0xffu << shift)) | to_u(rndne(within(x, 0.0f, 255.0f))) << shift;
}
INLINE fv flush_h(fv x) { return __builtin_elementwise_abs(x) < 0x1p-14f ? (fv)((uv)x & 0x80000000u) : x; }
// Not fused, and without denormals, whatever MODE says.
SHARED fv mad_h(fv a, fv b, fv c) {
  fv product = flush_h(h_to_f(f_to_h(flush_h(a) * flush_h(b))));
  return flush_h(h_to_f(f_to_h(product + flush_h(c))));
}
// 2 / pi, of which one multiplies a huge angle by 53 bits at a time.
static const u32 TWO_OVER_PI[38] = {
    0xa2f9836e, 0x4e441529, 0xfc2757d1, 0xf534ddc0, 0xdb629599, 0x3c439041, 0xfe5163ab, 0xdebbc561, 0xb7246e3a, 0x424dd2e0,
    0x06492eea, 0x09d1921c, 0xfe1deb1c, 0xb129a73e, 0xe88235f5, 0x2ebb4484, 0xe99c7026, 0xb45f7e41, 0x3991d639, 0x835339f4,
    0x9c845f8b, 0xbdf9283b, 0x1ff897ff, 0xde05980f, 0xef2f118b, 0x5a0a6d1f, 0x6d367ecf, 0x27cb09b7, 0x4f463f66, 0x9e5fea2d,
    0x7527bac7, 0xebe5f17b, 0x3d0739f7, 0x8a5292ea, 0x6bfb5fb1, 0x1f8d5d08, 0x56033046, 0xfc7b0000};
SHARED Fv trig_preop(Fv a, uv part) {
  Fv r;
  Iv scale;
  for (u32 lane = 0; lane < LANES; ++lane) {
    u32 e = (u32)(((Uv)a)[lane] >> 52) & 0x7ff, shift = (part[lane] & 31) * 53 + (e > 1077 ? e - 1077 : 0);
    u64 bits = 0;
    for (u32 k = shift; k < shift + 53; ++k) bits = bits << 1 | (k < 1201 ? TWO_OVER_PI[k / 32] >> (31 - k % 32) & 1 : 0);
    r[lane] = (f64)bits;
    scale[lane] = (e >= 1968 ? 128 : 0) - 53 - (i64)shift;
  }
  return ldexp(r, scale);
}
#include "typed.h"
