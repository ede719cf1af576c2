// The words of HIP that kernels use, over clang's builtins: any clang with the AMDGPU target builds with them, without ROCm, its
// runtime or its device library. Device side only. A ROCm compiler brings its own runtime header (it force-includes a wrapper,
// which we test for).
#pragma once

#if defined(__CLANG_HIP_RUNTIME_WRAPPER_H__)
#include_next <hip/hip_runtime.h>
#else

#define __host__ __attribute__((host))
#define __device__ __attribute__((device))
#define __global__ __attribute__((global))
#define __shared__ __attribute__((shared))
#define __constant__ __attribute__((constant))
#define __noinline__ __attribute__((noinline))
#define __forceinline__ inline __attribute__((always_inline))
#define HIP_DYNAMIC_SHARED(type, name) extern __shared__ type name[];
#define HIP_SHIM static __device__ __forceinline__
// clang's own launch_bounds attribute leaves the largest workgroup at 1024 threads, hence a cap of 128 VGPRs and other code than
// ROCm's: say both facts in the backend's own terms. The second number is waves per SIMD ("execution unit").
#define HIP_SHIM_BOUNDS(threads, waves, bounds, ...) bounds
#define HIP_SHIM_BOUNDS_1(threads, ...) __attribute__((amdgpu_flat_work_group_size(1, threads)))
#define HIP_SHIM_BOUNDS_2(threads, waves) __attribute__((amdgpu_flat_work_group_size(1, threads), amdgpu_waves_per_eu(waves)))
#define __launch_bounds__(...) HIP_SHIM_BOUNDS(__VA_ARGS__, HIP_SHIM_BOUNDS_2, HIP_SHIM_BOUNDS_1, )(__VA_ARGS__)

// A bare clang has no C library headers for the device.
typedef __INT8_TYPE__ int8_t;
typedef __INT16_TYPE__ int16_t;
typedef __INT32_TYPE__ int32_t;
typedef __INT64_TYPE__ int64_t;
typedef __UINT8_TYPE__ uint8_t;
typedef __UINT16_TYPE__ uint16_t;
typedef __UINT32_TYPE__ uint32_t;
typedef __UINT64_TYPE__ uint64_t;
typedef __INTPTR_TYPE__ intptr_t;
typedef __UINTPTR_TYPE__ uintptr_t;
typedef __PTRDIFF_TYPE__ ptrdiff_t;
typedef __SIZE_TYPE__ size_t;
typedef unsigned char uchar;
typedef unsigned short ushort;
typedef unsigned int uint;
typedef unsigned long ulong;
typedef long long longlong;
typedef unsigned long long ulonglong;

// Vectors of 2 and 4 are the compiler's, with arithmetic by element; those of 1 and 3 are packed structs, as in HIP.
#define HIP_SHIM_VECTOR(T)                                                                                                       \
  struct T##1 { T x; };                                                                                                          \
  struct T##3 { T x, y, z; };                                                                                                    \
  typedef T T##2 __attribute__((ext_vector_type(2)));                                                                            \
  typedef T T##4 __attribute__((ext_vector_type(4)));                                                                            \
  HIP_SHIM T##1 make_##T##1(T x) { return {x}; }                                                                                 \
  HIP_SHIM T##2 make_##T##2(T x, T y) { return T##2 {x, y}; }                                                                    \
  HIP_SHIM T##3 make_##T##3(T x, T y, T z) { return {x, y, z}; }                                                                 \
  HIP_SHIM T##4 make_##T##4(T x, T y, T z, T w) { return T##4 {x, y, z, w}; }
// clang-format off
HIP_SHIM_VECTOR(char) HIP_SHIM_VECTOR(uchar) HIP_SHIM_VECTOR(short) HIP_SHIM_VECTOR(ushort) HIP_SHIM_VECTOR(int)
HIP_SHIM_VECTOR(uint) HIP_SHIM_VECTOR(long) HIP_SHIM_VECTOR(ulong) HIP_SHIM_VECTOR(longlong) HIP_SHIM_VECTOR(ulonglong)
HIP_SHIM_VECTOR(float) HIP_SHIM_VECTOR(double);
// clang-format on
struct dim3 {
  uint x, y, z;
  __host__ __device__ constexpr dim3(uint x = 1, uint y = 1, uint z = 1) : x(x), y(y), z(z) {}
};

// Where a thread stands. The sizes lie in the arguments that the launch adds to the kernel's own (code object version 5).
namespace hip_shim {
template <typename T> HIP_SHIM T implicit(int offset) {
  typedef const __attribute__((address_space(4))) char* Bytes;
  return *(const __attribute__((address_space(4))) T*)((Bytes)__builtin_amdgcn_implicitarg_ptr() + offset);
}
#define HIP_SHIM_PLACE(Name, X, Y, Z)                                                                                            \
  struct Name {                                                                                                                  \
    __declspec(property(get = get_x)) uint x;                                                                                    \
    __declspec(property(get = get_y)) uint y;                                                                                    \
    __declspec(property(get = get_z)) uint z;                                                                                    \
    HIP_SHIM uint get_x() { return X; }                                                                                          \
    HIP_SHIM uint get_y() { return Y; }                                                                                          \
    HIP_SHIM uint get_z() { return Z; }                                                                                          \
    __device__ operator dim3() const { return dim3(X, Y, Z); }                                                                   \
  };
// clang-format off
HIP_SHIM_PLACE(Thread, __builtin_amdgcn_workitem_id_x(), __builtin_amdgcn_workitem_id_y(), __builtin_amdgcn_workitem_id_z())
HIP_SHIM_PLACE(Block, __builtin_amdgcn_workgroup_id_x(), __builtin_amdgcn_workgroup_id_y(), __builtin_amdgcn_workgroup_id_z())
HIP_SHIM_PLACE(GridSize, implicit<uint>(0), implicit<uint>(4), implicit<uint>(8))
HIP_SHIM_PLACE(BlockSize, implicit<ushort>(12), implicit<ushort>(14), implicit<ushort>(16));
// clang-format on
} // namespace hip_shim
static constexpr hip_shim::Thread threadIdx{};
static constexpr hip_shim::Block blockIdx{};
static constexpr hip_shim::GridSize gridDim{};
static constexpr hip_shim::BlockSize blockDim{};
static constexpr int warpSize = 64;

// Everything written before it by any thread of the workgroup is seen after it by all. s_barrier itself waits for no memory: the
// fences do.
HIP_SHIM void __syncthreads() { // phase: barrier
  __builtin_amdgcn_fence(__ATOMIC_RELEASE, "workgroup");
  __builtin_amdgcn_s_barrier();
  __builtin_amdgcn_fence(__ATOMIC_ACQUIRE, "workgroup");
} // phase: none
HIP_SHIM void __threadfence_block() { __builtin_amdgcn_fence(__ATOMIC_SEQ_CST, "workgroup"); }
HIP_SHIM void __threadfence() { __builtin_amdgcn_fence(__ATOMIC_SEQ_CST, "agent"); }
HIP_SHIM void __threadfence_system() { __builtin_amdgcn_fence(__ATOMIC_SEQ_CST, ""); }
HIP_SHIM void __syncwarp(uint64_t = ~0ull) {
  __builtin_amdgcn_fence(__ATOMIC_RELEASE, "wavefront");
  __builtin_amdgcn_wave_barrier();
  __builtin_amdgcn_fence(__ATOMIC_ACQUIRE, "wavefront");
}

// Lanes of a wave.
HIP_SHIM uint __lane_id() { return __builtin_amdgcn_mbcnt_hi(~0u, __builtin_amdgcn_mbcnt_lo(~0u, 0)); }
HIP_SHIM uint64_t __ballot(int predicate) { return __builtin_amdgcn_ballot_w64(predicate != 0); }
HIP_SHIM uint64_t __activemask() { return __builtin_amdgcn_ballot_w64(true); }
HIP_SHIM int __any(int predicate) { return __ballot(predicate) != 0; }
HIP_SHIM int __all(int predicate) { return __ballot(!predicate) == 0; }
HIP_SHIM uint64_t __ballot_sync(uint64_t, int predicate) { return __ballot(predicate); }
HIP_SHIM int __any_sync(uint64_t, int predicate) { return __any(predicate); }
HIP_SHIM int __all_sync(uint64_t, int predicate) { return __all(predicate); }
namespace hip_shim {
template <typename T> HIP_SHIM T from_lane(T value, int lane) {
  constexpr int words = (sizeof(T) + 3) / 4;
  int word[words] = {};
  __builtin_memcpy(word, &value, sizeof(T));
#pragma unroll
  for (int i = 0; i < words; ++i)
    word[i] = __builtin_amdgcn_ds_bpermute(4 * lane, word[i]);
  __builtin_memcpy(&value, word, sizeof(T));
  return value;
}
} // namespace hip_shim
// A lane outside the caller's segment of `width` lanes gives the caller's own value.
template <typename T> HIP_SHIM T __shfl(T value, int lane, int width = warpSize) {
  return hip_shim::from_lane(value, (lane & (width - 1)) + (int(__lane_id()) & -width));
}
template <typename T> HIP_SHIM T __shfl_xor(T value, int mask, int width = warpSize) {
  const int self = __lane_id(), lane = self ^ mask;
  return hip_shim::from_lane(value, lane >= ((self + width) & -width) ? self : lane);
}
template <typename T> HIP_SHIM T __shfl_up(T value, uint delta, int width = warpSize) {
  const int self = __lane_id(), lane = self - int(delta);
  return hip_shim::from_lane(value, lane < (self & -width) ? self : lane);
}
template <typename T> HIP_SHIM T __shfl_down(T value, uint delta, int width = warpSize) {
  const int self = __lane_id();
  return hip_shim::from_lane(value, (self & (width - 1)) + int(delta) >= width ? self : self + int(delta));
}
#define HIP_SHIM_SYNC(name, Index)                                                                                               \
  template <typename T> HIP_SHIM T name##_sync(uint64_t, T value, Index index, int width = warpSize) {                           \
    return name(value, index, width);                                                                                            \
  }
// clang-format off
HIP_SHIM_SYNC(__shfl, int) HIP_SHIM_SYNC(__shfl_xor, int) HIP_SHIM_SYNC(__shfl_up, uint) HIP_SHIM_SYNC(__shfl_down, uint);
// clang-format on

// Atomics: relaxed, seen by the whole device; those named _block by the workgroup. Each returns what was there.
namespace hip_shim {
template <typename T> struct Plain {
  typedef T type;
};
} // namespace hip_shim
#define HIP_SHIM_ATOMIC_SCOPED(name, builtin, scope)                                                                             \
  template <typename T> HIP_SHIM T name(T* at, typename hip_shim::Plain<T>::type value) {                                        \
    return builtin(at, value, __ATOMIC_RELAXED, scope);                                                                          \
  }
#define HIP_SHIM_ATOMIC(name, builtin)                                                                                           \
  HIP_SHIM_ATOMIC_SCOPED(name, builtin, __HIP_MEMORY_SCOPE_AGENT)                                                                \
  HIP_SHIM_ATOMIC_SCOPED(name##_block, builtin, __HIP_MEMORY_SCOPE_WORKGROUP)
// clang-format off
HIP_SHIM_ATOMIC(atomicAdd, __hip_atomic_fetch_add) HIP_SHIM_ATOMIC(atomicSub, __hip_atomic_fetch_sub)
HIP_SHIM_ATOMIC(atomicMin, __hip_atomic_fetch_min) HIP_SHIM_ATOMIC(atomicMax, __hip_atomic_fetch_max)
HIP_SHIM_ATOMIC(atomicAnd, __hip_atomic_fetch_and) HIP_SHIM_ATOMIC(atomicOr, __hip_atomic_fetch_or)
HIP_SHIM_ATOMIC(atomicXor, __hip_atomic_fetch_xor) HIP_SHIM_ATOMIC(atomicExch, __hip_atomic_exchange);
// clang-format on
template <typename T>
HIP_SHIM T atomicCAS(T* at, typename hip_shim::Plain<T>::type expected, typename hip_shim::Plain<T>::type value) {
  __hip_atomic_compare_exchange_strong(at, &expected, value, __ATOMIC_RELAXED, __ATOMIC_RELAXED, __HIP_MEMORY_SCOPE_AGENT);
  return expected;
}
HIP_SHIM uint atomicInc(uint* at, uint top) { return __builtin_amdgcn_atomic_inc32(at, top, __ATOMIC_RELAXED, "agent"); }
HIP_SHIM uint atomicDec(uint* at, uint top) { return __builtin_amdgcn_atomic_dec32(at, top, __ATOMIC_RELAXED, "agent"); }
// As one instruction of the memory system, which fine-grained memory would ignore.
template <typename T> HIP_SHIM T unsafeAtomicAdd(T* at, typename hip_shim::Plain<T>::type value) {
  [[clang::atomic(no_remote_memory, no_fine_grained_memory, ignore_denormal_mode)]] { return atomicAdd(at, value); }
}

// Bits.
template <typename To, typename From> HIP_SHIM To hip_shim_cast(From value) { return __builtin_bit_cast(To, value); }
HIP_SHIM int __float_as_int(float x) { return hip_shim_cast<int>(x); }
HIP_SHIM uint __float_as_uint(float x) { return hip_shim_cast<uint>(x); }
HIP_SHIM float __int_as_float(int x) { return hip_shim_cast<float>(x); }
HIP_SHIM float __uint_as_float(uint x) { return hip_shim_cast<float>(x); }
HIP_SHIM longlong __double_as_longlong(double x) { return hip_shim_cast<longlong>(x); }
HIP_SHIM double __longlong_as_double(longlong x) { return hip_shim_cast<double>(x); }
HIP_SHIM int __popc(uint x) { return __builtin_popcount(x); }
HIP_SHIM int __popcll(ulonglong x) { return __builtin_popcountll(x); }
HIP_SHIM int __clz(int x) { return x ? __builtin_clz(x) : 32; }
HIP_SHIM int __clzll(longlong x) { return x ? __builtin_clzll(x) : 64; }
HIP_SHIM int __ffs(int x) { return __builtin_ffs(x); }
HIP_SHIM int __ffsll(longlong x) { return __builtin_ffsll(x); }
HIP_SHIM uint __brev(uint x) { return __builtin_bitreverse32(x); }
HIP_SHIM ulonglong __brevll(ulonglong x) { return __builtin_bitreverse64(x); }
HIP_SHIM int __mulhi(int a, int b) { return int((longlong(a) * b) >> 32); }
HIP_SHIM uint __umulhi(uint a, uint b) { return uint((ulonglong(a) * b) >> 32); }
HIP_SHIM int __mul24(int a, int b) { return ((a << 8) >> 8) * ((b << 8) >> 8); }
HIP_SHIM uint __umul24(uint a, uint b) { return (a & 0xffffff) * (b & 0xffffff); }
template <typename T> HIP_SHIM T __ldg(const T* at) { return *at; }
HIP_SHIM long clock64() { return __builtin_readcyclecounter(); }
HIP_SHIM long wall_clock64() { return __builtin_readsteadycounter(); }

#include "hip_math.h"
#include "hip_printf.h"
#endif
