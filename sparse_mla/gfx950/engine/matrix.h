// Matrix cores: D[b][i][j] = C[b][i][j] + sum over k of A[b][i][k] * B[b][k][j] for m x m blocks. EXEC is ignored.
//
// Order and rounding, stated here only. `Launch.mfma_model` chooses:
//   MFMA_PLAIN  k ascending, one fp32 fused multiply-add a step (products of formats below f32 are exact, so each step rounds
//               once). f8f6f4, scaled or not: such a sum from zero over every 32 k, times its two scales, added to the total in
//               fp64 and rounded to fp32. This is a choice: what CDNA4 does is not published.
//   MFMA_CDNA3  what is known of CDNA3, bit for bit: see fused(). f64, f32 and i8 are the same in both.
//
// Lane l holds items t of row i = l % m of A (column j of B), of block b = l / m % blocks, and of k as k_at() says: `chunk` items
// side by side, then on to the next lane group. That is all that a lane has, but for the formats and the sparse instructions
// whose registers hold two such parts. Where D lies: row_at().
#pragma once
#include "memory.h"

typedef struct { u32 m, k, blocks; } Shape;

// ---- element formats ---------------------------------------------------------------------------------------------
enum { FINITE, IEEE, ONE_NAN, ONLY_NAN_IS_MINUS_ZERO, TRUNCATED, INTEGER };   // which codes are not numbers
typedef struct { u32 bits, exponent, mantissa; i32 bias; u32 special, chunk; } Format;   // chunk 0: all items of a lane
static const Format format_f32 = {32, 8, 23, 127, IEEE}, format_xf32 = {32, 8, 23, 127, TRUNCATED};
static const Format format_bf16 = {16, 8, 7, 127, IEEE}, format_f16 = {16, 5, 10, 15, IEEE};
static const Format format_fp8 = {8, 4, 3, 7, ONE_NAN}, format_bf8 = {8, 5, 2, 15, IEEE};
static const Format format_fp8z = {8, 4, 3, 8, ONLY_NAN_IS_MINUS_ZERO}, format_bf8z = {8, 5, 2, 16, ONLY_NAN_IS_MINUS_ZERO};
static const Format format_i8 = {8, 0, 8, 0, INTEGER};
static const Format f8f6f4[] = {{8, 4, 3, 7, ONE_NAN, 16}, {8, 5, 2, 15, IEEE, 16}, {6, 2, 3, 1, FINITE}, {6, 3, 2, 3, FINITE},
                                {4, 2, 1, 1, FINITE}};   // by CBSZ and BLGP

INLINE uv item(Wave* w, u32 o, u32 bits, u32 t) {   // item t of every lane, from registers packed low bits first
  u32 at = bits * t, shift = at % 32;
  uv x = AT(uv, w, o + 4 * LANES * (at / 32)) >> shift;
  if (shift + bits > 32) x |= AT(uv, w, o + 4 * LANES * (at / 32 + 1)) << (32 - shift);
  return bits < 32 ? x & ((1u << bits) - 1) : x;
}
INLINE uv decode(Format f, uv x) {   // to fp32 bits, exactly; integers to 32 bits
  if (f.special == INTEGER) return (uv)((iv)(x << 24) >> 24);
  if (f.special == TRUNCATED) return x & 0xffffe000u;
  if (f.exponent == 8) return x << (23 - f.mantissa);
  u32 top = f.exponent + f.mantissa;
  uv mag = x & ((1u << top) - 1), sign = (x >> top) << 31;
  uv normal = (mag << (23 - f.mantissa)) + ((u32)(127 - f.bias) << 23);
  uv tiny = (uv)(to_f((iv)mag) * (fv)splat((u32)(128 - f.bias - (i32)f.mantissa) << 23));
  uv r = select((iv)(mag >> f.mantissa != 0u), normal, tiny);
  u32 last = ((1u << f.exponent) - 1) << f.mantissa;   // the topmost exponent
  if (f.special == IEEE) r = select((iv)(mag >= last), 0x7f800000u | mag << (23 - f.mantissa), r);
  if (f.special == ONE_NAN) r = select((iv)(mag == (1u << top) - 1), splat(0x7fc00000u), r);
  if (f.special == ONLY_NAN_IS_MINUS_ZERO) return select((iv)(x == 1u << top), splat(0x7fc00000u), sign | r);
  return sign | r;
}
INLINE u32 lane_items(Shape s) { return s.k * s.m * s.blocks / LANES; }
INLINE u32 k_at(Shape s, u32 chunk, u32 group, u32 t) {
  u32 deep = LANES / s.m / s.blocks;   // lane groups along k
  return deep * chunk * (t / chunk) + chunk * (group / s.blocks) + t % chunk;
}
INLINE void unpack(Wave* w, u32 o, Shape s, Format f, u32* to) {   // [block][k][m]
  u32 items = lane_items(s), chunk = f.chunk ? f.chunk : items;
  for (u32 t = 0; t < items; ++t) {
    uv x = decode(f, item(w, o, f.bits, t));
    for (u32 g = 0; g < LANES / s.m; ++g)
      __builtin_memcpy(to + (g % s.blocks * s.k + k_at(s, chunk, g, t)) * s.m, (u32*)&x + s.m * g, 4 * s.m);
  }
}

// Byte offset of D[b][i][0..m-1] from D's first register: groups of 4 rows over the lanes, 4x4 blocks side by side.
INLINE u32 row_at(Shape s, u32 b, u32 i) {
  u32 side = s.m == 4 ? 16 : 1, rows = LANES / side / s.m;   // blocks and groups of rows in one register
  u32 reg = i % 4 + 4 * (i / (4 * rows) + s.m / 4 / rows * (b / side));
  return 4 * LANES * reg + 4 * s.m * (i / 4 % rows + rows * (b % side));
}

// ---- the plain model ---------------------------------------------------------------------------------------------
#define UNROLL _Pragma("clang loop unroll(full)")   // without it D does not stay in registers
#ifdef __AVX512F__
#define VECTOR_ROWS(M) (256 / (M))   // what the host's registers hold of D at a time
#else
#define VECTOR_ROWS(M) (64 / (M))
#endif
// `scales`: of A, then of B, one a lane: row (column) l % m and the 32 k from 32 * (l / m) on; or null.
#define MULTIPLY(NAME, T, M, STEP)                                                                                            \
  INLINE void NAME(Wave* w, u32 d, u32 c, Shape s, const u32* left, const u32* right, const f64* scales) {                    \
    typedef VEC(T, M) row;                                                                                                    \
    typedef VEC(f64, M) wide;                                                                                                 \
    enum { ROWS = M == 4 ? 4 : VECTOR_ROWS(M) };                                                                              \
    const T *a = (const T*)left, *b = (const T*)right;                                                                        \
    for (u32 n = 0; n < s.blocks; ++n, a += s.k * M, b += s.k * M)                                                            \
      for (u32 i0 = 0; i0 < M; i0 += ROWS) {                                                                                  \
        row sum[ROWS];                                                                                                        \
        UNROLL for (u32 i = 0; i < ROWS; ++i) sum[i] = c & 1 ? (row)AT(T, w, c & ~1u) : AT(row, w, c + row_at(s, n, i0 + i)); \
        for (u32 k0 = 0, span = scales ? 32 : s.k; k0 < s.k; k0 += span) {                                                    \
          row total[ROWS];                                                                                                    \
          if (scales) UNROLL for (u32 i = 0; i < ROWS; ++i) total[i] = sum[i], sum[i] = (row)0;                               \
          for (u32 k = k0; k < k0 + span; ++k)                                                                                \
            UNROLL for (u32 i = 0; i < ROWS; ++i) { row x = (row)a[k * M + i0 + i], y = *(const row*)&b[k * M]; STEP; }       \
          if (scales)                                                                                                         \
            UNROLL for (u32 i = 0; i < ROWS; ++i) {                                                                           \
              wide scale = *(const wide*)&scales[LANES + k0 / 32 * M] * scales[k0 / 32 * M + i0 + i];                         \
              wide r = __builtin_convertvector(sum[i], wide) * scale + __builtin_convertvector(total[i], wide);               \
              sum[i] = __builtin_convertvector(r, row);                                                                       \
            }                                                                                                                 \
        }                                                                                                                     \
        UNROLL for (u32 i = 0; i < ROWS; ++i) AT(row, w, d + row_at(s, n, i0 + i)) = sum[i];                                  \
      }                                                                                                                       \
  }
MULTIPLY(multiply4, f32, 4, sum[i] = fma(x, y, sum[i]))
MULTIPLY(multiply16, f32, 16, sum[i] = fma(x, y, sum[i]))
MULTIPLY(multiply32, f32, 32, sum[i] = fma(x, y, sum[i]))
MULTIPLY(multiply4_i, u32, 4, sum[i] += x * y)
MULTIPLY(multiply16_i, u32, 16, sum[i] += x * y)
MULTIPLY(multiply32_i, u32, 32, sum[i] += x * y)

// One block of 16 x 16 whose A and B are bf16, where the host's registers hold D: B comes straight from its registers, a dword
// two rows; A is laid out first, one lane group at a time, because a multiplication takes a number in memory for all its columns.
typedef VEC(f32, 16) row16f;
INLINE void multiply_bf16(Wave* w, u32 d, u32 c, u32 a, u32 b, Shape s) {
  row16f sum[16];
  row16 left[4][2];
  u32 registers = lane_items(s) / 2;
  UNROLL for (u32 i = 0; i < 16; ++i) sum[i] = c & 1 ? (row16f)AT(f32, w, c & ~1u) : AT(row16f, w, c + row_at(s, 0, i));
  for (u32 g = 0; g < 4; ++g) {
    for (u32 r = 0; r < registers; ++r) {
      row16 x = AT(row16, w, a + 4 * (LANES * r + 16 * g));
      left[r][0] = x << 16, left[r][1] = x & 0xffff0000u;
    }
    __asm__ volatile("" : : "r"(left) : "memory");   // else they stay in registers, and every number is first broadcast to one
    for (u32 r = 0; r < registers; ++r) {
      row16 x = AT(row16, w, b + 4 * (LANES * r + 16 * g));
      row16f even = (row16f)(x << 16), odd = (row16f)(x & 0xffff0000u);
      const f32* at = (const f32*)left[r];
      UNROLL for (u32 i = 0; i < 16; ++i) sum[i] = fma((row16f)at[i], even, sum[i]);
      UNROLL for (u32 i = 0; i < 16; ++i) sum[i] = fma((row16f)at[16 + i], odd, sum[i]);
    }
  }
  UNROLL for (u32 i = 0; i < 16; ++i) AT(row16f, w, d + row_at(s, 0, i)) = sum[i];
}

// ---- the model of CDNA3 ------------------------------------------------------------------------------------------
INLINE f64 pow2_of(i32 n) { u64 bits = (u64)(n + 1023) << 52; f64 r; __builtin_memcpy(&r, &bits, 8); return r; }
INLINE i64 down(i64 x, i32 n) { return x >> (n < 63 ? n : 63); }   // rounds down

enum { NO_EXPONENT = -2000 };   // of zero, which aligns nothing
// x = result * 2^(*exponent - 23); numbers below 2^least share its exponent. The low 12 bits of 16-bit and smaller formats are 0.
INLINE i64 significand(f32 x, i32 least, i32* exponent) {
  u32 u, e;
  __builtin_memcpy(&u, &x, 4);
  e = u >> 23 & 0xff;
  i32 at = (i32)(e ? e : 1) - 127;
  i64 m = (u & 0x7fffff) | (e ? 0x800000 : 0);
  if (!m) at = NO_EXPONENT;
  else if (at < least) m >>= least - at, at = least;
  *exponent = at;
  return u >> 31 ? -m : m;
}
// c + the n products a * b, times scale: products are cut off (toward 0) at 24 bits behind the point of the largest exponent and
// summed exactly; the sum and c are aligned to the larger exponent, rounded down at 31 and at 24 bits behind the point, and
// their sum is rounded to nearest even. `apart`: even and odd k are summed apart first, each with an exponent of its own, the two
// rounded down at 24 bits of the larger; c vanishes where it is more than 25 exponents below. Zeros have no exponent.
static f32 fused(const f32* a, const f32* b, u32 n, f32 c, i32 least_a, i32 least_b, f64 scale, u32 apart) {
  i64 p[16], sum[2] = {0, 0};
  i32 e[16], top[2] = {NO_EXPONENT, NO_EXPONENT}, ec;
  u32 above = 0, below = 0;
  u64 scale_bits;
  __builtin_memcpy(&scale_bits, &scale, 8);
  f64 exact = c;
  for (u32 t = 0; t < n; ++t) {
    f64 x = (f64)a[t] * (f64)b[t] * scale;
    exact += x;
    above |= x >= 0x1p128;
    below |= x <= -0x1p128;
  }
  if (!(exact - exact == 0)) return (f32)exact;   // infinite or NaN
  if (above | below) return above & below ? __builtin_nanf("") : above ? __builtin_inff() : -__builtin_inff();
  for (u32 t = 0; t < n; ++t) {
    i32 ea, eb;
    p[t] = (significand(a[t], least_a, &ea) >> 12) * (significand(b[t], least_b, &eb) >> 12) * 4;   // 24 bits behind the point
    e[t] = ea + eb + (i32)(scale_bits >> 52) - 1023;
    if (p[t] && e[t] > top[t & apart]) top[t & apart] = e[t];
  }
  for (u32 t = 0; t < n; ++t) {
    i32 shift = top[t & apart] - e[t];
    if (p[t]) sum[t & apart] += shift < 40 ? p[t] / (1ll << shift) : 0;
  }
  i32 high = top[0] > top[1] ? top[0] : top[1];
  i64 s = down(sum[0], high - top[0]) + down(sum[1], high - top[1]), sc = significand(c, -126, &ec) * 2;
  i32 last = high > ec ? high : ec;
  if (last == NO_EXPONENT) return 0;
  i64 r = down(s * 128, last - high) + (apart && ec < last - 25 ? 0 : down(sc, last - ec) * 128);
  return (f32)((f64)r * pow2_of(last - 31));
}

// ---- one element at a time: the model of CDNA3, and sparse A ------------------------------------------------------
// A holds `n` terms a row, [block][term][m]; `k_of`, of the same shape, is the k of each (null: its own number).
static void by_element(Wave* w, u32 d, u32 c, Shape s, u32 n, const Format* fa, const Format* fb,
                       const u32* left, const u32* right, const u32* k_of, const f64* scales) {
  u32 out[2048], many = s.blocks * s.m * s.m, exact = w->launch->mfma_model == MFMA_PLAIN || fa->special == INTEGER;
  u32 group = exact ? 1 : fa->bits == 32 ? 4 : fa->bits == 16 ? 8 : 16;
  for (u32 x = 0; x < many; ++x) {
    u32 block = x / (s.m * s.m), i = x / s.m % s.m, j = x % s.m;
    u32 sum = AT(u32, w, c & 1 ? c & ~1u : c + row_at(s, block, i) + 4 * j);
    for (u32 t0 = 0; t0 < n; t0 += group) {
      u32 a[16], b[16], count = n - t0 < group ? n - t0 : group;
      for (u32 t = 0; t < count; ++t) {
        u32 from = (block * n + t0 + t) * s.m + i;
        a[t] = left[from];
        b[t] = right[(block * s.k + (k_of ? k_of[from] : t0 + t)) * s.m + j];
      }
      f32 p[16], q[16], r;
      __builtin_memcpy(p, a, sizeof p); __builtin_memcpy(q, b, sizeof q); __builtin_memcpy(&r, &sum, 4);
      f64 scale = scales ? scales[t0 / 32 * s.m + i] * scales[LANES + t0 / 32 * s.m + j] : 1;
      r = exact ? __builtin_fmaf(p[0], q[0], r) : fused(p, q, count, r, 1 - fa->bias, 1 - fb->bias, scale, fa->bits < 16);
      if (fa->special == INTEGER) sum += a[0] * b[0];
      else __builtin_memcpy(&sum, &r, 4);
    }
    out[x] = sum;
  }
  for (u32 x = 0; x < many; ++x) AT(u32, w, d + row_at(s, x / (s.m * s.m), x / s.m % s.m) + x % s.m * 4) = out[x];
}

// ---- instructions ------------------------------------------------------------------------------------------------
typedef struct { u32 a[2048], b[2048]; } __attribute__((aligned(256))) Unpacked;
INLINE void mfma_of(const Op* o, Wave* w, Shape s, const Format* fa, const Format* fb, const f64* scales) {
  Unpacked x;
  u32 d = o->o[0], c = o->o[3], plain = w->launch->mfma_model == MFMA_PLAIN;
  if (VECTOR_ROWS(16) == 16 && fa == &format_bf16 && fb == fa && s.m == 16 && s.blocks == 1 && plain) {
    multiply_bf16(w, d, c, o->o[1], o->o[2], s);
    return;
  }
  unpack(w, o->o[1], s, *fa, x.a);
  unpack(w, o->o[2], s, *fb, x.b);
  if (fa->special == INTEGER) {
    if (s.m == 4) multiply4_i(w, d, c, s, x.a, x.b, 0);
    if (s.m == 16) multiply16_i(w, d, c, s, x.a, x.b, 0);
    if (s.m == 32) multiply32_i(w, d, c, s, x.a, x.b, 0);
  } else if (UNLIKELY(!plain) && !(fa->bits == 32 && fa->special == IEEE)) {
    by_element(w, d, c, s, s.k, fa, fb, x.a, x.b, 0, scales);
  } else {
    if (s.m == 4) multiply4(w, d, c, s, x.a, x.b, 0);
    if (s.m == 16) multiply16(w, d, c, s, x.a, x.b, scales);
    if (s.m == 32) multiply32(w, d, c, s, x.a, x.b, scales);
  }
}
static __attribute__((noinline)) void mfma(const Op* o, Wave* w, Shape s, const Format* fa, const Format* fb, const f64* scales) {
  if (s.m == 4) mfma_of(o, w, (Shape){4, s.k, s.blocks}, fa, fb, 0);
  else if (s.m == 16) mfma_of(o, w, (Shape){16, s.k, s.blocks}, fa, fb, scales);
  else mfma_of(o, w, (Shape){32, s.k, s.blocks}, fa, fb, scales);
}
#define MFMA(M, K, BLOCKS, A, B) mfma(o, w, (Shape){M, K, BLOCKS}, &format_##A, &format_##B, 0); NEXT
#define MFMA_INLINE(M, K, BLOCKS, A, B) mfma_of(o, w, (Shape){M, K, BLOCKS}, &format_##A, &format_##B, 0); NEXT

// imm: CBSZ, and BLGP from bit 4 on. Scaled: o[4] and o[5] hold E8M0 bytes, which aux picks, A's in its two low bits.
static __attribute__((noinline)) void mfma_f8f6f4(const Op* o, Wave* w, u32 m, u32 k, u32 scaled) {
  f64 scales[2 * LANES] __attribute__((aligned(256)));
  for (u32 n = 0; n < 2; ++n)
    for (u32 l = 0; l < LANES; ++l) {
      u32 e = scaled ? V(o->o[4 + n], l) >> (o->aux >> (2 * n) & 3) * 8 & 0xff : 127;
      scales[LANES * n + l] = e == 0xff ? __builtin_nan("") : pow2_of((i32)e - 127);
    }
  mfma(o, w, (Shape){m, k, 1}, &f8f6f4[o->imm & 7], &f8f6f4[o->imm >> 4 & 7], scales);
}

// A is compressed: of every four k, two, which two 2-bit numbers in o[3] name. imm: which of the sets in that register.
static __attribute__((noinline)) void smfmac(const Op* o, Wave* w, Shape s, Format fa, Format fb) {
  Unpacked x;
  u32 k_of[2048];
  Shape half = {s.m, s.k / 2, 1};
  fb.chunk = 128 / fb.bits, fa.chunk = fb.chunk / 2;
  u32 items = lane_items(half), set = (u32)o->imm & (16 / items - 1);
  unpack(w, o->o[1], half, fa, x.a);
  unpack(w, o->o[2], s, fb, x.b);
  for (u32 l = 0; l < LANES; ++l)
    for (u32 t = 0; t < items; ++t) {
      u32 index = V(o->o[3], l) >> 2 * (items * set + t) & 3;
      k_of[k_at(half, fa.chunk, l / s.m, t) * s.m + l % s.m] = k_at(s, fb.chunk, l / s.m, t / 2 * 4 + index);
    }
  by_element(w, o->o[0], o->o[0], s, s.k / 2, &fa, &fb, x.a, x.b, k_of, 0);
}
#define SMFMAC(M, K, A, B) smfmac(o, w, (Shape){M, K, 1}, format_##A, format_##B); NEXT

// fp64: one item of A and B a lane, rows of D over the lane groups. imm: what is negated, A, B, C from bit 0 on.
static __attribute__((noinline)) void mfma_f64(const Op* o, Wave* w, u32 m, u32 blocks) {
  Fv a = get_F(w, o->o[1]), b = get_F(w, o->o[2]), sum[4];
  f64 x[LANES], y[LANES], r[4][LANES];
  u32 rows = LANES / m / blocks, items = m / rows;   // rows in one item of D
  a = o->imm & 1 ? -a : a;
  b = o->imm & 2 ? -b : b;
  for (u32 t = 0; t < items; ++t) {
    sum[t] = get_F(w, o->o[3] & 1 ? o->o[3] : o->o[3] + 8 * LANES * t);
    sum[t] = o->imm & 4 ? -sum[t] : sum[t];
  }
  __builtin_memcpy(x, &a, sizeof x); __builtin_memcpy(y, &b, sizeof y); __builtin_memcpy(r, sum, sizeof r);
  for (u32 t = 0; t < items; ++t)
    for (u32 g = 0; g < LANES / m; ++g)   // a lane group has a row of a block
      for (u32 k = 0; k < 4; ++k) {
        u32 first = m * (g % blocks + blocks * k);
        for (u32 j = 0; j < m; ++j)
          r[t][m * g + j] = __builtin_fma(x[first + g / blocks + rows * t], y[first + j], r[t][m * g + j]);
      }
  __builtin_memcpy(sum, r, sizeof r);
  for (u32 t = 0; t < items; ++t) {
    AT(uv, w, o->o[0] + 8 * LANES * t) = __builtin_convertvector((Uv)sum[t], uv);
    AT(uv, w, o->o[0] + 8 * LANES * t + 4 * LANES) = __builtin_convertvector((Uv)sum[t] >> 32, uv);
  }
}

// gfx942's fp8, as rows call it.
#define e4m3z_to_f(x) ((fv)decode(format_fp8z, x))
#define e5m2z_to_f(x) ((fv)decode(format_bf8z, x))
#define FP8Z ((Small){3, 8, 8, 0x7f, 0x80, 0x80})
#define BF8Z ((Small){2, 8, 16, 0x7f, 0x80, 0x80})
INLINE uv sign_fnuz(fv x, uv code) { return select((iv)(code - 1u < 0x7fu), code | (uv)x >> 31 << 7, code); }   // no -0
#define to_smallz(x, s) sign_fnuz(x, to_small((fv)((uv)(x) & 0x7fffffffu), s))
#define to_small_srz(x, s, noise) sign_fnuz(x, to_small_sr((fv)((uv)(x) & 0x7fffffffu), s, noise))

// A and B broadcast over lanes (CBSZ with ABID, BLGP): lane l reads lane (l & imm) + aux.
#define MFMA_LANES                                                                 \
  uv x = AT(uv, w, o->o[1]), r;                                                    \
  for (u32 l = 0; l < LANES; ++l) r[l] = x[((l & (u32)o->imm) + o->aux) % LANES];  \
  AT(uv, w, o->o[0]) = r;                                                          \
  NEXT
