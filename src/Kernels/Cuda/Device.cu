// Stands before every kernel text: types that mirror the launchers' structs, number formats, warp and block sums.
// No header is included, so that compiling needs nothing but NVRTC.

#ifndef INFINITY
#define INFINITY __int_as_float(0x7F800000)
#endif

typedef unsigned char u8;
typedef unsigned short u16;
typedef unsigned int u32;
typedef unsigned long long u64;

// Mirrors XDeepServe.Kernels.Tensor.
struct Tensor { char* address; u8 type; int rows, columns, stride; };

// Mirrors WeightView: rows of all groups one behind the other, each padded with zeros to a multiple of 32 columns.
struct Weight { char* values; u16* scales; int groups, rows, columns, stride; };

// Mirrors PagedView.
struct Paged { Tensor positions, starts, contexts, blocks; int blockSize; };

__device__ inline float* floats(const Tensor& t, long long row) { return (float*)t.address + row * t.stride; }
__device__ inline int* ints(const Tensor& t, long long row) { return (int*)t.address + row * t.stride; }

// Lets the next kernel's blocks start once all of this one's are here.
__device__ inline void letNext()
{
#if __CUDA_ARCH__ >= 900
    asm volatile("griddepcontrol.launch_dependents;");
#endif
}

// Waits for the kernels before this one.
__device__ inline void await()
{
#if __CUDA_ARCH__ >= 900
    asm volatile("griddepcontrol.wait;" ::: "memory");
#endif
}

// First statement of every kernel, but for those that bring weights closer meanwhile.
__device__ inline void enter()
{
    letNext();
    await();
}

// Brings a line towards the L2 cache.
__device__ inline void prefetch(const void* address) { asm volatile("prefetch.global.L2 [%0];" ::"l"(address)); }

__device__ inline float widen(u32 bits) { return __uint_as_float(bits << 16); }
__device__ inline float lower(u32 pair) { return __uint_as_float(pair << 16); }
__device__ inline float upper(u32 pair) { return __uint_as_float(pair & 0xFFFF0000u); }

// Two singles as bfloat16, rounded to nearest even; the first in the lower half.
__device__ inline u32 pack(float first, float second)
{
    u32 pair;
    asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(pair) : "f"(second), "f"(first));
    return pair;
}

// Two 8-bit floats as bfloat16; 0x1404 picks the first two bytes, 0x3424 the others. The same bits four places down are the value
// with another exponent bias, which 2^120 mends, subnormal values too.
__device__ inline u32 widenFloats(u32 bytes, u32 which)
{
    u32 bits = __byte_perm(bytes, 0, which), pair;
    bits = (bits & 0x80008000u) | (bits & 0x7F007F00u) >> 4;
    asm("fma.rn.bf16x2 %0, %1, %2, %3;" : "=r"(pair) : "r"(bits), "r"(0x7B807B80u), "r"(0x80008000u));
    return pair;
}

__device__ inline u16 narrow(float value) { return (u16)pack(value, 0.0f); }

__device__ inline float fromHalf(u16 bits)
{
    float value;
    asm("cvt.f32.f16 %0, %1;" : "=f"(value) : "h"(bits));
    return value;
}

__device__ inline u16 toHalf(float value)
{
    u16 bits;
    asm("cvt.rn.f16.f32 %0, %1;" : "=h"(bits) : "f"(value));
    return bits;
}

// c += a · b: 16 x 16 by 16 x 8, bfloat16 into singles.
__device__ inline void multiply(float* c, u32 a0, u32 a1, u32 a2, u32 a3, u32 b0, u32 b1)
{
    asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
        : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3]) : "r"(a0), "r"(a1), "r"(a2), "r"(a3), "r"(b0), "r"(b1));
}

// Four 8 x 8 matrices of bfloat16 from shared memory, a row from each lane's address.
__device__ inline void loadMatrices(u32* r, u32 address)
{
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0,%1,%2,%3}, [%4];"
        : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3]) : "r"(address) : "memory");
}

__device__ inline u32 sharedAddress(const void* pointer) { return (u32)__cvta_generic_to_shared(pointer); }

// 16 bytes from global to shared memory in the background; zeros where not wanted.
__device__ inline void copyAsync(u32 to, const void* from, bool wanted)
{
    int bytes = wanted ? 16 : 0;
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(to), "l"(from), "r"(bytes) : "memory");
}

// The same of what is read once: it leaves the L2 cache before all else, so that small things that every layer reads stay there.
__device__ inline u64 passing()
{
    u64 policy;
    asm volatile("createpolicy.fractional.L2::evict_first.b64 %0, 1.0;" : "=l"(policy));
    return policy;
}
__device__ inline void copyPassing(u32 to, const void* from, u64 policy)
{
    asm volatile("cp.async.cg.shared.global.L2::cache_hint [%0], [%1], 16, %2;" ::"r"(to), "l"(from), "l"(policy) : "memory");
}
__device__ inline void commitCopies() { asm volatile("cp.async.commit_group;" ::: "memory"); }
template <int LEFT> __device__ inline void awaitCopies() { asm volatile("cp.async.wait_group %0;" ::"n"(LEFT) : "memory"); }

// 16 bytes that another block wrote in this launch: past the first cache.
__device__ inline float4 loadFresh(const float* address)
{
    float4 v;
    asm volatile("ld.global.cg.v4.f32 {%0,%1,%2,%3}, [%4];" : "=f"(v.x), "=f"(v.y), "=f"(v.z), "=f"(v.w) : "l"(address));
    return v;
}

// An 8 x 8 matrix of bfloat16, a pair a lane, turned.
__device__ inline u32 turned(u32 pair)
{
    u32 result;
    asm volatile("movmatrix.sync.aligned.m8n8.trans.b16 %0, %1;" : "=r"(result) : "r"(pair));
    return result;
}

#if __CUDA_ARCH__ >= 900
#define TEAM 8 // blocks that add up what they have in each other's shared memory: a cluster

// 16 bytes of another block's shared memory.
__device__ inline float4 peek(const float* mine, int block)
{
    float4 v;
    asm volatile("{ .reg .b32 a; mapa.shared::cluster.u32 a, %4, %5; ld.shared::cluster.v4.f32 {%0,%1,%2,%3}, [a]; }"
        : "=f"(v.x), "=f"(v.y), "=f"(v.z), "=f"(v.w) : "r"(sharedAddress(mine)), "r"(block) : "memory");
    return v;
}
__device__ inline void arrive() { asm volatile("barrier.cluster.arrive.aligned;" ::: "memory"); }
__device__ inline void gather() { asm volatile("barrier.cluster.wait.aligned;" ::: "memory"); }
__device__ inline void meet() { arrive(), gather(); }
#else
#define TEAM 1
#define __cluster_dims__(...)
__device__ inline float4 peek(const float* mine, int block) { return *(const float4*)mine; }
__device__ inline void arrive() { }
__device__ inline void gather() { }
__device__ inline void meet() { __syncthreads(); }
#endif

// ---- what follows uses no assembly

__device__ inline float warpSum(float value)
{
    for (int step = 16; step > 0; step >>= 1)
        value += __shfl_xor_sync(0xFFFFFFFFu, value, step);
    return value;
}

__device__ inline float warpMax(float value)
{
    for (int step = 16; step > 0; step >>= 1)
        value = fmaxf(value, __shfl_xor_sync(0xFFFFFFFFu, value, step));
    return value;
}

// Sum over a block of whole warps; every thread gets it. `room` holds 33 floats and is free again after the next barrier.
__device__ inline float blockSum(float value, float* room)
{
    int warps = blockDim.x >> 5, lane = threadIdx.x & 31;
    value = warpSum(value);
    __syncthreads();
    if (lane == 0)
        room[threadIdx.x >> 5] = value;
    __syncthreads();
    value = warpSum(lane < warps ? room[lane] : 0.0f);
    return value;
}

__device__ inline float blockMax(float value, float* room)
{
    int warps = blockDim.x >> 5, lane = threadIdx.x & 31;
    value = warpMax(value);
    __syncthreads();
    if (lane == 0)
        room[threadIdx.x >> 5] = value;
    __syncthreads();
    return warpMax(lane < warps ? room[lane] : -INFINITY);
}

// The sequence that a row of the step belongs to.
__device__ inline int sequenceOf(const Paged& batch, int row)
{
    int low = 0, high = batch.contexts.rows - 1;
    while (low < high)
    {
        int middle = (low + high + 1) >> 1;
        if (*ints(batch.starts, middle) <= row)
            low = middle;
        else
            high = middle - 1;
    }
    return low;
}

// Index of the first element of a position's head in a cache tensor.
__device__ inline long long cacheAt(const Paged& batch, const Tensor& cache, int sequence, int position, int head, int width)
{
    int block = ints(batch.blocks, sequence)[position / batch.blockSize];
    return (long long)block * cache.stride + ((long long)head * batch.blockSize + position % batch.blockSize) * width;
}

// Positions in a part of a context: the first size for contexts up to the reach, twice the size up to four times the reach, and
// so on to 4096. It depends on the context alone, so a row's result does not depend on the batch.
__device__ inline int partSize(int context, int size, int reach)
{
    for (; context > reach && size < 4096; reach *= 4)
        size *= 2;
    return size;
}

// Four columns of a row's sum over some keys, and what it is relative to.
struct Share
{
    float4 sum;
    float most, total;

    // `ends` holds the largest score and the total of what is added.
    __device__ void add(const float4& value, const float4& ends)
    {
        if (ends.x == -INFINITY)
            return;
        float larger = fmaxf(most, ends.x), mine = most == -INFINITY ? 0.0f : __expf(most - larger), theirs = __expf(ends.x - larger);
        sum.x = sum.x * mine + value.x * theirs, sum.y = sum.y * mine + value.y * theirs;
        sum.z = sum.z * mine + value.z * theirs, sum.w = sum.w * mine + value.w * theirs;
        total = total * mine + ends.y * theirs;
        most = larger;
    }
};

__device__ inline float silu(float x) { return x / (1.0f + __expf(-x)); }
