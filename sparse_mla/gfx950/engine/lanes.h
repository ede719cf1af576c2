// Arithmetic on 64 lanes, as the rows in isa/ call it. Each function says whose rule it follows where C would differ.
#pragma once
#include "engine.h"

#define to_u(x) __builtin_convertvector(x, uv)
#define to_i(x) __builtin_convertvector(x, iv)
#define to_f(x) __builtin_convertvector(x, fv)
#define to_U(x) __builtin_convertvector(x, Uv)
#define to_I(x) __builtin_convertvector(x, Iv)
#define to_F(x) __builtin_convertvector(x, Fv)
#define fma(a, b, c) __builtin_elementwise_fma(a, b, c)
#define umin(a, b) __builtin_elementwise_min(a, b)   // integers only: floats go through fmin2 / fmax2
#define umax(a, b) __builtin_elementwise_max(a, b)
#define floor(a) __builtin_elementwise_floor(a)
#define ceil(a) __builtin_elementwise_ceil(a)
#define trunc(a) __builtin_elementwise_trunc(a)
#define rndne(a) __builtin_elementwise_roundeven(a)
#define sqrt(a) __builtin_elementwise_sqrt(a)

INLINE uv splat(u32 x) { return (uv)x; }
#define is_nan(x) ((x) != (x))
#define MANY static inline __attribute__((always_inline, overloadable))   // has a version for fp64 too
MANY iv is_snan(fv x) { return is_nan(x) & (((uv)x & 0x400000u) == 0); }
MANY fv quiet(fv x) { return (fv)((uv)x | 0x400000u); }

// IEEE mode: a signalling NaN comes back quiet, a quiet one loses to a number, and -0 < +0.
MANY fv fmin2(fv a, fv b) {
  if (!mask_bits(is_nan(a) | is_nan(b))) return (fv)select(a == b, (uv)a | (uv)b, a < b ? (uv)a : (uv)b);
  uv r = select((a < b) | is_nan(b), (uv)a, (uv)b);
  r = select(a == b, (uv)a | (uv)b, r);
  r = select(is_snan(b), (uv)quiet(b), r);
  return (fv)select(is_snan(a), (uv)quiet(a), r);
}
MANY fv fmax2(fv a, fv b) {
  if (!mask_bits(is_nan(a) | is_nan(b))) return (fv)select(a == b, (uv)a & (uv)b, a > b ? (uv)a : (uv)b);
  uv r = select((a > b) | is_nan(b), (uv)a, (uv)b);
  r = select(a == b, (uv)a & (uv)b, r);
  r = select(is_snan(b), (uv)quiet(b), r);
  return (fv)select(is_snan(a), (uv)quiet(a), r);
}

INLINE Fv pow2(Iv n) { return (Fv)((n + 1023) << 52); }   // -1022 <= n <= 1023
// 2^x and log2(x) through double, so that the result is the correctly rounded float in all but a few cases per billion;
// the device promises 1 ulp. Denormal results are kept.
INLINE fv exp2v(fv x) {
  fv c = (fv)select(x > 200.0f, (uv)(fv)200.0f, select(x < -200.0f, (uv)(fv)-200.0f, (uv)x));
  c = (fv)select(is_nan(x), (uv)(fv)0.0f, (uv)c);
  fv n = rndne(c);
  Fv t = to_F(c - n), p = (Fv)0x1.e3992178bd0ddp-28;   // |t| <= 1/2; the polynomial is off by at most 2.2e-16 of 2^t
  const f64 factors[] = {0x1.b6740fb0785eap-24, 0x1.62c157ec7ee12p-20, 0x1.ffcb55e844f93p-17, 0x1.43091260573e4p-13,
                         0x1.5d87fe9cc5ce9p-10, 0x1.3b2ab6fbde0f3p-7,  0x1.c6b08d703d48ap-5,  0x1.ebfbdff82c3b9p-3,
                         0x1.62e42fefa3a17p-1,  1.0};
#pragma clang loop unroll(full)
  for (int k = 0; k < 10; ++k) p = fma(p, t, (Fv)factors[k]);
  uv r = (uv)to_f(p * pow2(to_I(n)));
  return (fv)select(is_nan(x), (uv)quiet(x), r);
}
INLINE fv log2v(fv x) {
  Uv bits = (Uv)to_F(x);                                     // every float, denormal or not, is a normal double
  Iv e = (Iv)((bits >> 52) & 0x7ff) - 1023;
  Fv m = (Fv)((bits & 0xfffffffffffffull) | 0x3ff0000000000000ull);
  Iv big = m > 1.4142135623730951;
  m = big ? m * 0.5 : m;
  e -= big;
  Fv s = (m - 1.0) / (m + 1.0), s2 = s * s, p = (Fv)(1.0 / 19.0);
#pragma clang loop unroll(full)
  for (int k = 17; k >= 1; k -= 2) p = p * s2 + 1.0 / k;
  uv r = (uv)to_f(to_F(e) + p * s * 2.8853900817779268147);
  r = select(x == 0.0f, splat(0xff800000u), r);
  r = select((uv)x == 0x7f800000u, splat(0x7f800000u), r);
  r = select(x < 0.0f, splat(0x7fc00000u), r);
  return (fv)select(is_nan(x), (uv)quiet(x), r);
}
INLINE fv rcp(fv x) { return 1.0f / x; }
INLINE fv rsq(fv x) { return to_f(1.0 / sqrt(to_F(x))); }
MANY fv fract(fv x) { fv r = x - floor(x); return r > 0.99999994f ? (fv)0.99999994f : r; }   // NaN stays, never 1.0

MANY fv ldexp(fv x, iv n) {   // x * 2^n, exact until the one rounding at the end
  iv c = n < -300 ? (iv)-300 : n > 300 ? (iv)300 : n;
  return to_f(to_F(x) * pow2(to_I(c)));
}

// Float to integer saturates and a NaN gives 0, where C leaves both undefined.
INLINE uv f_to_u(fv x) {
  fv t = (fv)select(x > 0.0f, (uv)x, splat(0));
  fv s = (fv)select(t < 4294967296.0f, (uv)t, splat(0));
  return select(t < 4294967296.0f, to_u(s), splat(~0u));
}
INLINE iv f_to_i(fv x) {
  fv s = (fv)select((x > -2147483904.0f) & (x < 2147483648.0f), (uv)x, splat(0));
  iv r = to_i(s);
  r = (iv)select(x >= 2147483648.0f, splat(0x7fffffff), (uv)r);
  return (iv)select(x < -2147483648.0f, splat(0x80000000u), (uv)r);
}

INLINE uv f_to_bf16(fv x) {   // round to nearest even; a NaN stays one
  uv b = (uv)x, r = (b + 0x7fffu + ((b >> 16) & 1)) >> 16;
  return select(is_nan(x), (b >> 16) | 0x40u, r);
}
INLINE uv pack_bf16(fv a, fv b) {
  if (mask_bits(is_nan(a) | is_nan(b))) return f_to_bf16(a) | f_to_bf16(b) << 16;
  uv x = (uv)a, y = (uv)b;
  return (x + 0x7fffu + (x >> 16 & 1)) >> 16 | ((y + 0x7fffu + (y >> 16 & 1)) & 0xffff0000u);
}
INLINE fv bf16_to_f(uv x) { return (fv)(x << 16); }

// OCP fp8: e4m3fn has no infinity and one NaN a sign (S.1111.111); e5m2 is IEEE-like.
INLINE fv e4m3_to_f(uv x) {   // of the low byte
  uv y = (uv)((iv)(x << 24) >> 4) & 0x87f00000u;                  // as fp32, too small by 2^(127 - 7), denormal or not
  return (fv)select((iv)(y << 1 == 0x0fe00000u), (y & 0x80000000u) | 0x7fc00000u, (uv)((fv)y * 0x1p120f));
}
INLINE fv e5m2_to_f(uv x) {
  uv s = (x & 0x80u) << 24, m = x & 0x7fu;
  uv r = select((iv)(m >= 4u), (m << 21) + (112u << 23), (uv)(to_f((iv)m) * 1.52587890625e-5f));   // 2^-16
  r = select((iv)(m >= 0x7cu), 0x7f800000u | ((m & 3u) << 21), r);
  return (fv)(s | select((iv)(m > 0x7cu), splat(0x7fc00000u), r));
}

// Bytes of the 8-byte number hi:lo picked by the four selectors of sel: 0..7 a byte, 8..11 a sign, 12 zero, above it 0xff.
INLINE uv perm_byte(uv hi, uv lo, u32 s) {
  if (s > 12) return splat(0xff);
  if (s == 12) return splat(0);
  if (s >= 8) return (uv)-(iv)((s & 2 ? hi : lo) >> (s & 1 ? 31 : 15) & 1u) & 0xffu;
  return (s & 4 ? hi : lo) >> (8 * (s & 3)) & 0xffu;
}
INLINE uv perm(uv hi, uv lo, uv sel) {
  uv r = splat(0);
  if (mask_bits(sel != sel[0]) == 0) {   // nearly always one selector for all lanes
    if (sel[0] == 0x05040100) return (lo & 0xffffu) | hi << 16;   // what packing two halves compiles to
    if (sel[0] == 0x07060302) return lo >> 16 | (hi & 0xffff0000u);
    for (u32 k = 0; k < 4; ++k) r |= perm_byte(hi, lo, sel[0] >> (8 * k) & 0xff) << (8 * k);
    return r;
  }
  for (u32 l = 0; l < LANES; ++l)
    for (u32 k = 0; k < 4; ++k) r[l] |= perm_byte(splat(hi[l]), splat(lo[l]), sel[l] >> (8 * k) & 0xff)[0] << (8 * k);
  return r;
}
INLINE u32 bits_u(u32 x, u32 first, u32 n) { return x >> first & (n < 32 ? (1u << n) - 1 : ~0u); }
INLINE u64 bits_U(u64 x, u32 first, u32 n) { return x >> first & (n < 64 ? (1ull << n) - 1 : ~0ull); }
INLINE i64 bits_s(i64 x, u32 first, u32 n, u32 width) {
  n = n > width ? width : n;
  return n ? (i64)((u64)(x >> first) << (64 - n)) >> (64 - n) : 0;
}
INLINE u64 quads(u64 x) {   // bit k: whether bits 4k to 4k+3 have a one
  u64 r = 0;
  for (u32 k = 0; k < 16; ++k) r |= (u64)((x >> 4 * k & 15) != 0) << k;
  return r;
}
INLINE u64 spread(u64 x, u32 log2) {   // bit k to bit k << log2
  u64 r = 0;
  for (u32 k = 0; k < 64u >> log2; ++k) r |= (x >> k & 1) << (k << log2);
  return r;
}
INLINE iv bits_i(iv x, uv first, uv n) {   // n bits from `first`, sign-extended; none give 0
  iv unused = (iv)(32u - n & 31u);
  return n != 0u ? x >> (iv)first << unused >> unused : (iv)splat(0);
}
INLINE uv bitop3(uv a, uv b, uv c, u32 table) {   // bit k of table: the result for a,b,c = bits 2,1,0 of k
  uv r = splat(0);
#pragma clang loop unroll(full)
  for (u32 k = 0; k < 8; ++k)
    if (table >> k & 1) r |= (k & 4 ? a : ~a) & (k & 2 ? b : ~b) & (k & 1 ? c : ~c);
  return r;
}
INLINE uv mul_hi_u(uv a, uv b) { return to_u(to_U(a) * to_U(b) >> 32); }
INLINE iv mul_hi_i(iv a, iv b) { return to_i(to_I(a) * to_I(b) >> 32); }
INLINE uv bit_reverse(uv x) { return __builtin_elementwise_bitreverse(x); }
INLINE uv pop_count(uv x) { return __builtin_elementwise_popcount(x); }
INLINE uv first_high(uv x) {   // leading zeros, -1 for 0
  uv r = splat(0), v = x;
#pragma clang loop unroll(full)
  for (u32 k = 16; k; k >>= 1) {
    iv high = (iv)(v >> k != 0u);
    r = select(high, r, r + k);
    v = select(high, v >> k, v);
  }
  return select((iv)(x == 0u), splat(~0u), r);
}
INLINE uv first_low(uv x) { return first_high(x & -x) ^ select((iv)(x == 0u), splat(0), splat(31)); }
#define EXECUTE exec_of(w)
static const uv LANES_BELOW_LO = {
    0, 1, 3, 7, 0xf, 0x1f, 0x3f, 0x7f, 0xff, 0x1ff, 0x3ff, 0x7ff, 0xfff, 0x1fff, 0x3fff, 0x7fff, 0xffff, 0x1ffff, 0x3ffff,
    0x7ffff, 0xfffff, 0x1fffff, 0x3fffff, 0x7fffff, 0xffffff, 0x1ffffff, 0x3ffffff, 0x7ffffff, 0xfffffff, 0x1fffffff, 0x3fffffff,
    0x7fffffff, ~0u, ~0u, ~0u, ~0u, ~0u, ~0u, ~0u, ~0u, ~0u, ~0u, ~0u, ~0u, ~0u, ~0u, ~0u, ~0u, ~0u, ~0u, ~0u, ~0u, ~0u, ~0u,
    ~0u, ~0u, ~0u, ~0u, ~0u, ~0u, ~0u, ~0u, ~0u, ~0u};
INLINE uv lanes_below_hi(void) {
  uv r = splat(0);
  for (u32 l = 32; l < LANES; ++l) r[l] = LANES_BELOW_LO[l - 32];
  return r;
}
#define LANES_BELOW_HI lanes_below_hi()
INLINE fv fminimum(fv a, fv b) { return (is_nan(a) | is_nan(b)) ? (fv)__builtin_nanf("") : fmin2(a, b); }   // NaN wins
INLINE fv fmaximum(fv a, fv b) { return (is_nan(a) | is_nan(b)) ? (fv)__builtin_nanf("") : fmax2(a, b); }
INLINE fv med3(fv a, fv b, fv c) {
  fv lo = fmin2(a, b), hi = fmax2(a, b);
  fv r = fmax2(lo, fmin2(hi, c));
  return (fv)select(is_nan(a) | is_nan(b) | is_nan(c), (uv)fmin2(fmin2(a, b), c), (uv)r);
}

// SDWA: part 0..3 a byte, 4..5 a word, 6 the dword.
INLINE u32 sdwa_shift(u32 part) { return part < 4 ? 8 * part : part == 5 ? 16 : 0; }
INLINE u32 sdwa_mask(u32 part) { return part < 4 ? 0xffu : part < 6 ? 0xffffu : ~0u; }
INLINE uv sdwa_source(uv x, u32 part, u32 sign_extend) {
  uv r = x >> sdwa_shift(part) & sdwa_mask(part);
  u32 sign = sdwa_mask(part) / 2 + 1;
  return sign_extend ? (r ^ sign) - sign : r;
}
INLINE uv sdwa_pad(uv x, u32 part) { return (x & sdwa_mask(part)) << sdwa_shift(part); }
INLINE uv sdwa_sext(uv x, u32 part) {   // above it the sign, below it zeros
  u32 up = part < 4 ? 24 - 8 * part : part < 5 ? 16 : 0;
  return (uv)((iv)(x << (sdwa_shift(part) + up)) >> up);
}
INLINE uv sdwa_preserve(uv old, uv x, u32 part) { return (old & ~(sdwa_mask(part) << sdwa_shift(part))) | sdwa_pad(x, part); }

// DPP: o[0] = the values of other lanes, by the table of bytes at o[3] (255: none). Where there is none, or it is inactive, aux
// bit 0 gives 0 and else the lane is switched off; EXEC waits at o[2] and comes back after the instruction.
#define DPP                                                                                          \
  u64 exec = exec_of(w), on = exec & (u64)o->imm;                                                    \
  const u8* from = (u8*)w + (o->o[3] & ~1u);                                                         \
  for (u32 lane = 0; lane < LANES; ++lane) {                                                         \
    u32 l = from[lane], have = l < LANES && exec >> l & 1;                                           \
    V(o->o[0], lane) = have ? V(o->o[1], l) : 0;                                                     \
    if (o->aux >> 1 == 2) V(o->o[0] + 256, lane) = have ? V(o->o[1] + 256, l) : 0;                   \
    if (!have && !(o->aux & 1)) on &= ~(1ull << lane);                                               \
  }                                                                                                  \
  AT(u64, w, o->o[2]) = exec;                                                                        \
  exec_of(w) = on;                                                                                   \
  NEXT

// ---- scalar registers by number, the MODE register, program counters -------------------------------------------------
#define SPECIAL_LIMIT 102
#define MOVREL(T, READ, WRITE)                                                                       \
  u32 shift = SREG(u32, w, M0), from = (o->o[1] & ~1u) + READ * 4 * shift, to = (o->o[0] & ~1u) + WRITE * 4 * shift; \
  u32 end = SGPR_OFFSET + 4 * SPECIAL_LIMIT - sizeof(T);                                             \
  if (shift > SPECIAL_LIMIT || (READ && from > end) || (WRITE && to > end)) return fault(w, o, FAULT_INDEX, 0, shift, 4); \
  T x;                                                                                               \
  __builtin_memcpy(&x, (u8*)w + from, sizeof x);                                                     \
  __builtin_memcpy((u8*)w + to, &x, sizeof x);                                                       \
  NEXT
// VGPR indexing: a register `M0` behind the one that is named; the file ends after aux registers.
#define INDEXED(READ, WRITE)                                                                         \
  u32 shift = SREG(u32, w, M0) & 255;                                                                \
  if (shift >= o->aux) return fault(w, o, FAULT_INDEX, 0, shift, 4);                                 \
  put_u(w, o->o[0] + WRITE * 256 * shift, AT(uv, w, o->o[1] + READ * 256 * shift));                  \
  NEXT
// hwreg(id, first bit, bits): MODE is kept, as what differs from how a kernel starts; the rest reads as 0.
#define MODE_START 0x3f0u
#define HWREG(k) u32 id = (k) & 63, first = (k) >> 6 & 31, size = ((k) >> 11 & 31) + 1; u32 mask = bits_u(~0u, 0, size)
#define GETREG                                                                                       \
  HWREG(AT(u32, w, o->o[1] & ~1u));                                                                  \
  AT(u32, w, o->o[0] & ~1u) = id == 1 ? (w->mode ^ MODE_START) >> first & mask : 0;                  \
  NEXT
#define SETREG   /* only exception flags may change: nothing here looks at them */                   \
  HWREG(AT(u32, w, o->o[0] & ~1u));                                                                  \
  u32 was = w->mode ^ MODE_START, now = (was & ~(mask << first)) | (AT(u32, w, o->o[1] & ~1u) & mask) << first; \
  if (id != 1 || (now ^ MODE_START) & ~0x1ff000u) return fault(w, o, FAULT_MODE, 0, now, 4);         \
  w->mode = now ^ MODE_START;                                                                        \
  NEXT
#define CODE_ADDRESS(pc) (w->launch->code_base + 4 * (u64)(pc))
#define CALL(where) AT(u64, w, o->o[0] & ~1u) = CODE_ADDRESS(o->pc + 1); GO(where)
#define JUMP(k)                                                                                      \
  u64 to = AT(u64, w, o->o[k] & ~1u);                                                                \
  const Op* next = find_code(w->launch, to);                                                         \
  if (!next) return fault(w, o, FAULT_JUMP, 0, to, 4);                                               \
  GO(next)
#define CALL_POINTER                                                                                 \
  u64 to = AT(u64, w, o->o[1] & ~1u);                                                                \
  const Op* next = find_code(w->launch, to);                                                         \
  if (!next) return fault(w, o, FAULT_JUMP, 0, to, 4);                                               \
  CALL(next)
