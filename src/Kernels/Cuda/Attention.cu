// Grouped-query attention of few rows (decode) over a bfloat16 cache on the tensor cores. Rows are (token, query head) pairs of a
// sequence that share a cache head, 16 at most: Prefill.cu has the sequences with more. Keys and values go from the cache to shared
// memory in the background, to where the lane that copies them multiplies them: the columns of a key and the numbering of a value's
// columns are permuted the same way on both sides of a product. A context is cut into eight parts, of more than REACH positions into
// more; a team of eight blocks adds its parts up in each other's shared memory, teams are merged by whichever ends last, in order.

#include "Keys.cu"

#define WARPS 4
#define STAGES 2   // chunks that a warp has under way
#define FIT 3      // blocks that a multiprocessor is to have room for
#define REACH 4096 // positions of a team: 32 chunks of a warp at most

template <int WIDTH, int TILES>
__device__ void attend(const AttentionArguments& p)
{
    constexpr int PITCH = WIDTH + 4, OWN = STAGES * sizeof(Chunk<WIDTH>) / 4; // floats of a row of sums; of a warp's memory
    static_assert(OWN >= TILES * 8 * PITCH, "a warp's sums take the place of its keys");
    extern __shared__ __align__(16) float memory[]; // [WARPS, STAGES] chunks, then [WARPS] rows of sums
    __shared__ __align__(16) float room[WARPS][PITCH];
    __shared__ __align__(16) u16 fresh[2][WIDTH];
    __shared__ int arrived;
    // Where this kernel itself writes the step's keys, all others, and where they are, are there before the kernel before it has ended.
    bool own = p.table.address;
    letNext();
    if (!own)
        await();
    int lane = threadIdx.x & 31, warp = threadIdx.x >> 5, g = lane >> 2, q = lane & 3;
    int share = p.heads / p.cacheHeads, cacheHead = blockIdx.y, sequence = blockIdx.z;
    int firstToken = p.single ? sequence : *ints(p.batch.starts, sequence), rows = (p.single ? 1 : *ints(p.batch.starts, sequence + 1) - firstToken) * share;
    int context = *ints(p.batch.contexts, sequence), parts = (context + REACH - 1) / REACH * 8, size = ((context + parts - 1) / parts + 15) & ~15;
    if (blockIdx.x >= parts || rows > 16)
        return;
    int start = blockIdx.x * size, end = min(context, start + size);
    bool newest = own && start < context && end == context;
    // The token's position bounds what a row sees; rows that do not exist see nothing. The lane multiplies its two rows of a tile,
    // and brings the queries of one.
    int limits[TILES][2], firsts[TILES][2], last = 0, earliest = context;
#pragma unroll
    for (int tile = 0; tile < TILES; tile++)
#pragma unroll
        for (int e = 0; e < 2; e++)
        {
            int row = tile * 8 + 2 * q + e;
            bool exists = row < rows;
            limits[tile][e] = exists ? p.single ? context : *ints(p.batch.positions, firstToken + row / share) + 1 : 0;
            firsts[tile][e] = p.window > 0 ? max(0, limits[tile][e] - p.window) : 0;
            last = max(last, limits[tile][e]);
            earliest = min(earliest, exists ? firsts[tile][e] : context);
        }
    for (int step = 1; step < 4; step <<= 1)
    {
        last = max(last, __shfl_xor_sync(0xFFFFFFFFu, last, step));
        earliest = min(earliest, __shfl_xor_sync(0xFFFFFFFFu, earliest, step));
    }
    end = min(end, last);
    start = max(start, earliest & ~15);
    Chunk<WIDTH>* chunks = (Chunk<WIDTH>*)(memory + warp * OWN);
    int base = start + warp * 16, round = 0;
    // A lane knows where in the cache one of the warp's chunks is.
    long long keysAt = 0, valuesAt = 0;
    if (base + lane * 16 * WARPS < end)
    {
        keysAt = cacheAt(p.batch, p.keys, sequence, base + lane * 16 * WARPS, cacheHead, WIDTH);
        valuesAt = cacheAt(p.batch, p.values, sequence, base + lane * 16 * WARPS, cacheHead, WIDTH);
    }
    auto fetch = [&](int stage, int ahead)
    {
        long long firstKey = __shfl_sync(0xFFFFFFFFu, keysAt, round + ahead), firstValue = __shfl_sync(0xFFFFFFFFu, valuesAt, round + ahead);
        if (base + ahead * 16 * WARPS < end)
            chunks[stage].fetch(p, sequence, cacheHead, base + ahead * 16 * WARPS, context, firstKey, firstValue);
        commitCopies();
    };
#pragma unroll
    for (int stage = 0; stage < STAGES; stage++)
        fetch(stage, stage);
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
    u32 query[TILES][WIDTH / 16][2];
#pragma unroll
    for (int tile = 0; tile < TILES; tile++)
    {
        int row = tile * 8 + g;
        const float* from = row < rows ? floats(p.query, firstToken + row / share) + (cacheHead * share + row % share) * WIDTH + q * 8 : nullptr;
        float values[WIDTH / 32][8];
#pragma unroll
        for (int i = 0; i < WIDTH / 32; i++)
        {
            *(float4*)values[i] = from ? *(const float4*)(from + i * 32) : make_float4(0, 0, 0, 0);
            *(float4*)(values[i] + 4) = from ? *(const float4*)(from + i * 32 + 4) : make_float4(0, 0, 0, 0);
        }
        if (own)
            turn<WIDTH>(p, values, context - 1);
#pragma unroll
        for (int i = 0; i < WIDTH / 32; i++)
        {
            query[tile][i * 2][0] = pack(values[i][0], values[i][1]), query[tile][i * 2][1] = pack(values[i][2], values[i][3]);
            query[tile][i * 2 + 1][0] = pack(values[i][4], values[i][5]), query[tile][i * 2 + 1][1] = pack(values[i][6], values[i][7]);
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
    }
    State<WIDTH, TILES> state;
    state.clear();
    for (int stage = 0; base < end; base += 16 * WARPS, round++, stage = stage + 1 < STAGES ? stage + 1 : 0)
    {
        awaitCopies<STAGES - 1>();
        __syncwarp();
        if (newest && context <= base + 16)
            chunks[stage].mend(context - 1 - base, fresh[0], fresh[1]);
        state.attend(chunks[stage], query, base, p.scale, limits, firsts);
        __syncwarp();
        fetch(stage, STAGES);
    }
    __syncwarp();
    state.store(memory + warp * OWN, PITCH);
    meet();
    // A block has one row of each tile: its warps add up what the team's have, each that of two blocks, then the first one adds up theirs.
    int place = blockIdx.z * p.cacheHeads + cacheHead, teams = parts / TEAM, rank = blockIdx.x % TEAM, most = p.parts / TEAM, column = min(lane * 4, WIDTH - 4);
    float* all = p.partial + (long long)place * most * 16 * PITCH;
    auto join = [&](const Share& mine)
    {
        __syncthreads();
        if (lane * 4 < WIDTH)
            *(float4*)(room[warp] + column) = mine.sum;
        if (lane == 0)
            *(float4*)(room[warp] + WIDTH) = make_float4(mine.most, mine.total, 0, 0);
        __syncthreads();
        Share whole = {make_float4(0, 0, 0, 0), -INFINITY, 0};
        for (int i = 0; i < WARPS; i++)
            whole.add(*(const float4*)(room[i] + column), *(const float4*)(room[i] + WIDTH));
        return whole;
    };
    auto finish = [&](int row, const Share& whole)
    {
        float4 sum = whole.sum;
        if (warp == 0 && lane * 4 < WIDTH)
            *(float4*)(floats(p.output, firstToken + row / share) + (cacheHead * share + row % share) * WIDTH + column) = make_float4(sum.x / whole.total, sum.y / whole.total, sum.z / whole.total, sum.w / whole.total);
    };
    for (int row = rank; row < rows; row += TEAM)
    {
        float4 theirs[TEAM], ends[TEAM];
#pragma unroll
        for (int i = 0; i < TEAM; i++)
        {
            int other = warp * TEAM + i; // of the team's warps
            const float* from = memory + other % WARPS * OWN + row * PITCH;
            theirs[i] = peek(from + column, other / WARPS), ends[i] = peek(from + WIDTH, other / WARPS);
        }
        Share mine = {make_float4(0, 0, 0, 0), -INFINITY, 0};
#pragma unroll
        for (int i = 0; i < TEAM; i++)
            mine.add(theirs[i], ends[i]);
        mine = join(mine);
        if (teams == 1)
            finish(row, mine);
        else if (warp == 0)
        {
            float* to = all + (blockIdx.x / TEAM * 16 + row) * PITCH;
            if (lane * 4 < WIDTH)
                *(float4*)(to + column) = mine.sum;
            if (lane == 0)
                *(float4*)(to + WIDTH) = make_float4(mine.most, mine.total, 0, 0);
        }
    }
    arrive(); // others may still read this block's memory
    if (teams > 1)
    {
        int* ticket = p.tickets + place * TEAM + rank;
        __threadfence();
        __syncthreads();
        if (threadIdx.x == 0)
            arrived = atomicAdd(ticket, 1);
        __syncthreads();
        for (int row = rank; arrived == teams - 1 && row < rows; row += TEAM)
        {
            __threadfence();
            Share mine = {make_float4(0, 0, 0, 0), -INFINITY, 0};
            for (int team = warp; team < teams; team += WARPS)
            {
                const float* from = all + (team * 16 + row) * PITCH;
                mine.add(loadFresh(from + column), loadFresh(from + WIDTH));
            }
            finish(row, join(mine));
        }
        if (threadIdx.x == 0 && arrived == teams - 1)
            *ticket = 0;
    }
    gather();
}

#define ATTEND(name, width, tiles) \
    extern "C" __global__ void __cluster_dims__(TEAM, 1, 1) __launch_bounds__(WARPS * 32, tiles == 1 ? FIT : 2) name(AttentionArguments p) { attend<width, tiles>(p); }
ATTEND(attend64, 64, 1)
ATTEND(attend128, 128, 1)
ATTEND(attendMore64, 64, 2)
ATTEND(attendMore128, 128, 2)
