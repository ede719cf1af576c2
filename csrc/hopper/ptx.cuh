// What CUDA C++ has no words for, as functions; for SPLITS programs in a cluster.
#pragma once

typedef unsigned int u32;
typedef unsigned short u16;
typedef unsigned long long u64;
typedef long long i64;

#define NONE __int_as_float(0xff800000)
constexpr float NO_MAX = -1e30f, LN_2 = 0.69314718f, LOG2_E = 1.44269504f;

// The same in every iteration, but made anew: dozens of them kept in registers would leave too few.
template <class T> __device__ __forceinline__ T anew(T x) {
  if constexpr (sizeof(T) == 8)
    asm volatile("" : "+l"(x));
  else
    asm volatile("" : "+r"(x));
  return x;
}

__device__ __forceinline__ void wgmma_fence() { asm volatile("wgmma.fence.sync.aligned;" ::: "memory"); }
__device__ __forceinline__ void wgmma_commit() { asm volatile("wgmma.commit_group.sync.aligned;" ::: "memory"); }
template <int LEFT> __device__ __forceinline__ void wgmma_wait() {
  asm volatile("wgmma.wait_group.sync.aligned %0;" ::"n"(LEFT) : "memory");
}
__device__ __forceinline__ u32 times(u32 a, u32 b) {
  u32 d;
  asm("mul.bf16x2 %0, %1, %2;" : "=r"(d) : "r"(a), "r"(b));
  return d;
}
__device__ __forceinline__ u32 pack(float low, float high) {
  u32 d;
  asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(d) : "f"(high), "f"(low));
  return d;
}
__device__ __forceinline__ float power_of_2(float x) {
  float d;
  asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(d) : "f"(x));
  return d;
}
__device__ __forceinline__ uint4 lds(u32 at) {
  uint4 d;
  asm volatile("ld.shared.v4.b32 {%0, %1, %2, %3}, [%4];" : "=r"(d.x), "=r"(d.y), "=r"(d.z), "=r"(d.w) : "r"(at));
  return d;
}
__device__ __forceinline__ void store_fragment(u32 at, u32 x, u32 y, u32 z, u32 w) {
  asm volatile("stmatrix.sync.aligned.m8n8.x4.shared.b16 [%0], {%1, %2, %3, %4};" ::"r"(at), "r"(x), "r"(y), "r"(z), "r"(w)
               : "memory");
}
__device__ __forceinline__ void sts(u32 at, u32 x) { asm volatile("st.shared.b32 [%0], %1;" ::"r"(at), "r"(x) : "memory"); }
__device__ __forceinline__ void sts(u32 at, float x) { asm volatile("st.shared.f32 [%0], %1;" ::"r"(at), "f"(x) : "memory"); }
__device__ __forceinline__ void sts(u32 at, float x, float y) {
  asm volatile("st.shared.v2.f32 [%0], {%1, %2};" ::"r"(at), "f"(x), "f"(y) : "memory");
}
__device__ __forceinline__ float4 lds_f4(u32 at) {
  float4 d;
  asm volatile("ld.shared.v4.f32 {%0, %1, %2, %3}, [%4];" : "=f"(d.x), "=f"(d.y), "=f"(d.z), "=f"(d.w) : "r"(at));
  return d;
}
__device__ __forceinline__ void sts4(u32 at, const float* x) {
  asm volatile("st.shared.v4.f32 [%0], {%1, %2, %3, %4};" ::"r"(at), "f"(x[0]), "f"(x[1]), "f"(x[2]), "f"(x[3]) : "memory");
}
__device__ __forceinline__ u64 lds_u64(u32 at) {
  u64 d;
  asm volatile("ld.shared.b64 %0, [%1];" : "=l"(d) : "r"(at));
  return d;
}
__device__ __forceinline__ float lds_f(u32 at) {
  float d;
  asm volatile("ld.shared.f32 %0, [%1];" : "=f"(d) : "r"(at));
  return d;
}
__device__ __forceinline__ float2 lds_f2(u32 at) {
  float2 d;
  asm volatile("ld.shared.v2.f32 {%0, %1}, [%2];" : "=f"(d.x), "=f"(d.y) : "r"(at));
  return d;
}
__device__ __forceinline__ u32 in_rank(u32 at, u32 rank) {
  u32 d;
  asm("mapa.shared::cluster.u32 %0, %1, %2;" : "=r"(d) : "r"(at), "r"(rank));
  return d;
}
__device__ __forceinline__ float remote(u32 at, u32 rank) {
  float d;
  if constexpr (SPLITS == 1)
    asm volatile("ld.shared.f32 %0, [%1];" : "=f"(d) : "r"(at));
  else
    asm volatile("ld.shared::cluster.f32 %0, [%1];" : "=f"(d) : "r"(in_rank(at, rank)));
  return d;
}
__device__ __forceinline__ float4 remote4(u32 at, u32 rank) {
  float4 d;
  if constexpr (SPLITS == 1)
    asm volatile("ld.shared.v4.f32 {%0, %1, %2, %3}, [%4];" : "=f"(d.x), "=f"(d.y), "=f"(d.z), "=f"(d.w) : "r"(at));
  else
    asm volatile("ld.shared::cluster.v4.f32 {%0, %1, %2, %3}, [%4];"
                 : "=f"(d.x), "=f"(d.y), "=f"(d.z), "=f"(d.w)
                 : "r"(in_rank(at, rank)));
  return d;
}
// Into shared memory, while the thread goes on; zeros where nothing is there.
template <int BYTES> __device__ __forceinline__ void copy(u32 to, const void* from, bool there) {
  if constexpr (BYTES == 16)
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(to), "l"(from), "r"(there ? 16 : 0) : "memory");
  else
    asm volatile("cp.async.ca.shared.global [%0], [%1], 8, %2;" ::"r"(to), "l"(from), "r"(there ? 8 : 0) : "memory");
}
__device__ __forceinline__ void fence_async() { asm volatile("fence.proxy.async.shared::cta;" ::: "memory"); }
template <int THREADS> __device__ __forceinline__ void meet(int id) {
  asm volatile("bar.sync %0, %1;" ::"r"(id), "n"(THREADS) : "memory");
}
template <int THREADS> __device__ __forceinline__ void pass(int id) { // those that meet there, without waiting
  asm volatile("bar.arrive %0, %1;" ::"r"(id), "n"(THREADS) : "memory");
}
__device__ __forceinline__ void meet_all() { // what the cluster has stored in its shared memories before it is there after it
  if constexpr (SPLITS == 1)
    __syncthreads();
  else
    // Not arrive.release, which would wait for all of the device's memory: nothing there is handed over.
    asm volatile("fence.acq_rel.cta;\nbarrier.cluster.arrive.relaxed.aligned;\nbarrier.cluster.wait.acquire.aligned;" ::
                     : "memory");
}
