// Grouped-query attention of few rows (decode) over a bfloat16 cache on the tensor cores. Rows are (token, query head) pairs of a
// sequence that share a cache head, 16 at most: Prefill.cu has the sequences with more. Keys and values go from the cache straight into
// registers, 16 bytes a lane: the columns of a key and the numbering of a value's columns are permuted the same way on both sides of a
// product, so nothing passes through shared memory. The block's warps share the keys of one part of the context, parts are merged by
// whichever block ends last, in order.

#include "Keys.cu"

#define WARPS 4

template <int WIDTH>
__device__ void attend(const AttentionArguments& p)
{
    constexpr int PITCH = WIDTH + 4;
    __shared__ __align__(16) float exchange[WARPS][16 * PITCH];
    __shared__ float factors[WARPS][16], tops[16], totals[16];
    __shared__ int arrived;
    __shared__ __align__(16) u16 fresh[2][WIDTH];
    // Where this kernel itself writes the step's keys, all others, and where they are, are there before the kernel before it has ended.
    bool own = p.table.address;
    letNext();
    if (!own)
        await();
    int lane = threadIdx.x & 31, warp = threadIdx.x >> 5, g = lane >> 2, q = lane & 3;
    int share = p.heads / p.cacheHeads, cacheHead = blockIdx.y, sequence = blockIdx.z;
    int firstToken = p.single ? sequence : *ints(p.batch.starts, sequence), rows = (p.single ? 1 : *ints(p.batch.starts, sequence + 1) - firstToken) * share;
    int context = *ints(p.batch.contexts, sequence), size = partSize(context, 64, 1024), parts = (context + size - 1) / size;
    if (blockIdx.x >= parts || rows > 16)
        return;
    int start = blockIdx.x * size, end = min(context, start + size);
    bool newest = own && end == context;
    // The lane's two rows: the token's position bounds what it sees; rows that do not exist see nothing.
    int limits[2], firsts[2], tokenOf[2], headOf[2];
    int last = 0, earliest = context;
#pragma unroll
    for (int r = 0; r < 2; r++)
    {
        int row = g + r * 8;
        bool exists = row < rows;
        tokenOf[r] = exists ? firstToken + row / share : -1;
        headOf[r] = cacheHead * share + row % share;
        limits[r] = exists ? *ints(p.batch.positions, tokenOf[r]) + 1 : 0;
        firsts[r] = p.window > 0 ? max(0, limits[r] - p.window) : 0;
        last = max(last, limits[r]);
        earliest = min(earliest, exists ? firsts[r] : context);
    }
    for (int step = 4; step < 32; step <<= 1)
    {
        last = max(last, __shfl_xor_sync(0xFFFFFFFFu, last, step));
        earliest = min(earliest, __shfl_xor_sync(0xFFFFFFFFu, earliest, step));
    }
    end = min(end, last);
    start = max(start, earliest & ~(16 * WARPS - 1));
    int base = start + warp * 16;
    Rows<WIDTH> loaded;
    if (base < end)
    {
        loaded.loadKeys(p, sequence, cacheHead, base, context);
        loaded.loadValues(p, sequence, cacheHead, base, context);
    }
    if (own)
    {
        // So are the tables.
        if (threadIdx.x * 32 < WIDTH)
        {
            prefetch(floats(p.table, context - 1) + threadIdx.x * 32);
            if (p.queryGain.address)
                prefetch(floats(p.queryGain, 0) + threadIdx.x * 32), prefetch(floats(p.keyGain, 0) + threadIdx.x * 32);
        }
        await();
    }
    u32 query[WIDTH / 16][4];
#pragma unroll
    for (int r = 0; r < 2; r++)
    {
        const float* from = tokenOf[r] >= 0 ? floats(p.query, tokenOf[r]) + headOf[r] * WIDTH + q * 8 : nullptr;
        float values[WIDTH / 32][8];
#pragma unroll
        for (int i = 0; i < WIDTH / 32; i++)
        {
            *(float4*)values[i] = from ? *(const float4*)(from + i * 32) : make_float4(0, 0, 0, 0);
            *(float4*)(values[i] + 4) = from ? *(const float4*)(from + i * 32 + 4) : make_float4(0, 0, 0, 0);
        }
        if (own)
            turn<WIDTH>(p, values, limits[r] - 1);
#pragma unroll
        for (int i = 0; i < WIDTH / 32; i++)
        {
            query[i * 2][r] = pack(values[i][0], values[i][1]), query[i * 2][r + 2] = pack(values[i][2], values[i][3]);
            query[i * 2 + 1][r] = pack(values[i][4], values[i][5]), query[i * 2 + 1][r + 2] = pack(values[i][6], values[i][7]);
        }
    }
    if (newest)
    {
        // This block's part ends with the step's own position, which only it reads.
        const float* projected = floats(p.query, firstToken) + (p.heads + cacheHead) * WIDTH;
        if (warp == 0)
            keep<WIDTH>(p, projected, p.keys, sequence, cacheHead, context - 1, true, fresh[0]);
        else if (warp == 1)
            keep<WIDTH>(p, projected + p.cacheHeads * WIDTH, p.values, sequence, cacheHead, context - 1, false, fresh[1]);
        __syncthreads();
        loaded.mend(base, context - 1, fresh[0], fresh[1]);
    }
    State<WIDTH> state;
    state.clear();
    for (; base < end; base += 16 * WARPS)
        state.attend(p, query, loaded, sequence, cacheHead, base, base + 16 * WARPS < end ? base + 16 * WARPS : 0, context, limits, firsts);
    // Each warp's state to shared memory, then one thread per value adds the warps up in order.
#pragma unroll
    for (int r = 0; r < 2; r++)
    {
        float* to = exchange[warp] + (g + r * 8) * PITCH;
#pragma unroll
        for (int i = 0; i < WIDTH / 8; i++)
            for (int e = 0; e < 2; e++)
                to[i / 8 * 64 + (2 * q + e) * 8 + i % 8] = state.sums[i][r * 2 + e];
        if (q == 0)
            to[WIDTH] = state.most[r], to[WIDTH + 1] = state.total[r];
    }
    __syncthreads();
    if (threadIdx.x < 16)
    {
        float most = -INFINITY, total = 0;
        for (int i = 0; i < WARPS; i++)
            most = fmaxf(most, exchange[i][threadIdx.x * PITCH + WIDTH]);
        for (int i = 0; i < WARPS; i++)
        {
            float theirs = exchange[i][threadIdx.x * PITCH + WIDTH], factor = theirs == -INFINITY ? 0.0f : __expf(theirs - most);
            factors[i][threadIdx.x] = factor;
            total += factor * exchange[i][threadIdx.x * PITCH + WIDTH + 1];
        }
        tops[threadIdx.x] = most, totals[threadIdx.x] = total;
    }
    __syncthreads();
    int place = blockIdx.z * p.cacheHeads + cacheHead;
    float* mine = p.partial + ((long long)place * p.parts + blockIdx.x) * 16 * PITCH;
    for (int item = threadIdx.x; item < rows * WIDTH / 4; item += WARPS * 32)
    {
        int row = item / (WIDTH / 4), column = item % (WIDTH / 4) * 4;
        float4 sum = make_float4(0, 0, 0, 0);
        for (int i = 0; i < WARPS; i++)
            addScaled(sum, *(const float4*)(exchange[i] + row * PITCH + column), factors[i][row]);
        if (parts == 1)
            storeScaled(floats(p.output, firstToken + row / share) + (cacheHead * share + row % share) * WIDTH + column, sum, 1 / totals[row]);
        else
            *(float4*)(mine + row * PITCH + column) = sum;
    }
    if (parts == 1)
        return;
    if (threadIdx.x < rows)
        mine[threadIdx.x * PITCH + WIDTH] = tops[threadIdx.x], mine[threadIdx.x * PITCH + WIDTH + 1] = totals[threadIdx.x];
    __threadfence();
    __syncthreads();
    if (threadIdx.x == 0)
        arrived = atomicAdd(p.tickets + place, 1);
    __syncthreads();
    if (arrived != parts - 1)
        return;
    __threadfence();
    // The last block weighs the parts (a warp per row), then adds them up in order.
    const float* all = p.partial + (long long)place * p.parts * 16 * PITCH;
    float* shares = exchange[0]; // [rows, parts]
    for (int row = warp; row < rows; row += WARPS)
    {
        float most = -INFINITY, total = 0;
        for (int part = lane; part < parts; part += 32)
        {
            float4 theirs = loadFresh(all + (part * 16 + row) * PITCH + WIDTH);
            shares[row * parts + part] = theirs.x;
            float larger = fmaxf(most, theirs.x);
            total = total * (most == -INFINITY ? 0.0f : __expf(most - larger)) + theirs.y * (theirs.x == -INFINITY ? 0.0f : __expf(theirs.x - larger));
            most = larger;
        }
        float best = warpMax(most);
        total = warpSum(most == -INFINITY ? 0.0f : total * __expf(most - best));
        for (int part = lane; part < parts; part += 32)
            shares[row * parts + part] = shares[row * parts + part] == -INFINITY ? 0.0f : __expf(shares[row * parts + part] - best) / total;
    }
    __syncthreads();
    for (int item = threadIdx.x; item < rows * WIDTH / 4; item += WARPS * 32)
    {
        int row = item / (WIDTH / 4), column = item % (WIDTH / 4) * 4;
        const float* from = all + row * PITCH + column;
        float4 sum = make_float4(0, 0, 0, 0);
        for (int part = 0; part < parts; part += 8)
        {
            float4 theirs[8];
#pragma unroll
            for (int i = 0; i < 8; i++)
                theirs[i] = loadFresh(from + (long long)min(part + i, parts - 1) * 16 * PITCH);
#pragma unroll
            for (int i = 0; i < 8; i++)
                addScaled(sum, theirs[i], part + i < parts ? shares[row * parts + part + i] : 0.0f);
        }
        storeScaled(floats(p.output, firstToken + row / share) + (cacheHead * share + row % share) * WIDTH + column, sum, 1);
    }
    if (threadIdx.x == 0)
        p.tickets[place] = 0;
}

extern "C" __global__ void __launch_bounds__(WARPS * 32) attend64(AttentionArguments p) { attend<64>(p); }
extern "C" __global__ void __launch_bounds__(WARPS * 32) attend128(AttentionArguments p) { attend<128>(p); }
