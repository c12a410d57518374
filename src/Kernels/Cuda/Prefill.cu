// Grouped-query attention of many rows (prefill) over a bfloat16 cache on the tensor cores. Rows of a tile are (token, query head)
// pairs that share a cache head; every warp has 16 of them. Keys and values pass through shared memory, 64 positions at a time, the
// next while these are worked on.

#define WARPS 8
#define KEYS 64

struct PrefillArguments
{
    Tensor output, query, keys, values;
    Paged batch;
    int heads, cacheHeads, window;
    float scale;
};

// The same as loadMatrices, each matrix turned.
__device__ inline void loadTurned(u32* r, u32 address)
{
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0,%1,%2,%3}, [%4];"
        : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3]) : "r"(address) : "memory");
}

template <int WIDTH>
__device__ void attend(const PrefillArguments& p)
{
    constexpr int LINE = WIDTH * 2, PIECES = WIDTH / 8, TILE = KEYS * LINE, LINES = WARPS * 32 / PIECES; // bytes of a row, its pieces of 16 bytes, rows copied at once
    extern __shared__ __align__(128) char stages[]; // [2, keys and values, KEYS] rows, their pieces swizzled
    enter();
    int lane = threadIdx.x & 31, warp = threadIdx.x >> 5, g = lane >> 2, q = lane & 3;
    int share = p.heads / p.cacheHeads, cacheHead = blockIdx.y, sequence = 0;
    // The last tiles see most: they begin first.
    int tile = gridDim.x - 1 - blockIdx.x, firstToken = 0, tokens = 0;
    for (; sequence < p.batch.contexts.rows; sequence++)
    {
        firstToken = *ints(p.batch.starts, sequence), tokens = *ints(p.batch.starts, sequence + 1) - firstToken;
        int tiles = tokens * share <= 16 ? 0 : (tokens * share + 16 * WARPS - 1) / (16 * WARPS); // few rows are another kernel's
        if (tile < tiles)
            break;
        tile -= tiles;
    }
    if (sequence == p.batch.contexts.rows)
        return;
    int context = *ints(p.batch.contexts, sequence), firstRow = tile * 16 * WARPS, lastRow = min(firstRow + 16 * WARPS, tokens * share) - 1;
    // Positions of a sequence's tokens rise: the tile sees those from its first token's first to its last token's own.
    int from = *ints(p.batch.positions, firstToken + firstRow / share) + 1, end = min(context, *ints(p.batch.positions, firstToken + lastRow / share) + 1);
    int start = p.window > 0 ? max(0, from - p.window) & ~(KEYS - 1) : 0;
    // The lane's two rows; rows that do not exist see nothing.
    int limits[2], firsts[2], tokenOf[2], headOf[2];
    u32 query[WIDTH / 16][4];
#pragma unroll
    for (int r = 0; r < 2; r++)
    {
        int row = firstRow + warp * 16 + g + r * 8;
        bool exists = row <= lastRow;
        tokenOf[r] = exists ? firstToken + row / share : -1;
        headOf[r] = cacheHead * share + row % share;
        limits[r] = exists ? *ints(p.batch.positions, tokenOf[r]) + 1 : 0;
        firsts[r] = p.window > 0 ? max(0, limits[r] - p.window) : 0;
        const float* values = exists ? floats(p.query, tokenOf[r]) + headOf[r] * WIDTH + q * 2 : nullptr;
#pragma unroll
        for (int i = 0; i < WIDTH / 16; i++)
        {
            float2 low = values ? *(const float2*)(values + i * 16) : make_float2(0, 0), high = values ? *(const float2*)(values + i * 16 + 8) : make_float2(0, 0);
            query[i][r] = pack(low.x, low.y), query[i][r + 2] = pack(high.x, high.y);
        }
    }
    int line = threadIdx.x / PIECES, piece = threadIdx.x % PIECES;
    u32 memory = sharedAddress(stages), place = line * LINE + ((piece ^ (line & 7)) * 16);
    auto fetch = [&](int stage, int base)
    {
#pragma unroll
        for (int i = 0; i < KEYS / LINES; i++)
        {
            int position = base + line + i * LINES;
            bool wanted = position < end;
            long long at = wanted ? cacheAt(p.batch, p.keys, sequence, position, cacheHead, WIDTH) + piece * 8 : 0;
            u32 to = memory + stage * 2 * TILE + place + i * LINES * LINE;
            copyAsync(to, (const u16*)p.keys.address + at, wanted);
            copyAsync(to + TILE, (const u16*)p.values.address + (wanted ? cacheAt(p.batch, p.values, sequence, position, cacheHead, WIDTH) + piece * 8 : 0), wanted);
        }
    };
    float sums[WIDTH / 8][4] = {}, most[2] = {-INFINITY, -INFINITY}, total[2] = {};
    if (start < end)
        fetch(0, start);
    commitCopies();
    for (int base = start, stage = 0; base < end; base += KEYS, stage ^= 1)
    {
        if (base + KEYS < end)
            fetch(stage ^ 1, base + KEYS);
        commitCopies();
        awaitCopies<1>();
        __syncthreads();
        u32 keys = memory + stage * 2 * TILE, values = keys + TILE;
        float scores[KEYS / 8][4] = {};
#pragma unroll
        for (int i = 0; i < WIDTH / 16; i++)
#pragma unroll
            for (int j = 0; j < KEYS / 16; j++)
            {
                u32 b[4];
                int row = j * 16 + (lane >> 4) * 8 + (lane & 7), column = i * 2 + ((lane >> 3) & 1);
                loadMatrices(b, keys + row * LINE + ((column ^ (row & 7)) * 16));
                multiply(scores[j * 2], query[i][0], query[i][1], query[i][2], query[i][3], b[0], b[1]);
                multiply(scores[j * 2 + 1], query[i][0], query[i][1], query[i][2], query[i][3], b[2], b[3]);
            }
        bool whole = base + KEYS <= from && p.window == 0; // every row sees all of these
        float larger[2] = {most[0], most[1]};
#pragma unroll
        for (int j = 0; j < KEYS / 8; j++)
#pragma unroll
            for (int e = 0; e < 4; e++)
            {
                int key = base + j * 8 + q * 2 + (e & 1);
                scores[j][e] = whole || (key < limits[e >> 1] && key >= firsts[e >> 1]) ? scores[j][e] * p.scale : -INFINITY;
                larger[e >> 1] = fmaxf(larger[e >> 1], scores[j][e]);
            }
        u32 weights[KEYS / 8][2];
#pragma unroll
        for (int r = 0; r < 2; r++)
        {
            larger[r] = fmaxf(larger[r], __shfl_xor_sync(0xFFFFFFFFu, larger[r], 1));
            larger[r] = fmaxf(larger[r], __shfl_xor_sync(0xFFFFFFFFu, larger[r], 2));
            float known = larger[r] == -INFINITY ? 0.0f : larger[r], keep = __expf(most[r] - known), sum = 0;
            most[r] = larger[r];
#pragma unroll
            for (int j = 0; j < KEYS / 8; j++)
            {
                weights[j][r] = pack(__expf(scores[j][r * 2] - known), __expf(scores[j][r * 2 + 1] - known));
                // What is summed is what is multiplied: the rounded weights.
                sum += lower(weights[j][r]) + upper(weights[j][r]);
            }
            total[r] = total[r] * keep + sum; // of the lane's own columns
#pragma unroll
            for (int j = 0; j < WIDTH / 8; j++)
                sums[j][r * 2] *= keep, sums[j][r * 2 + 1] *= keep;
        }
#pragma unroll
        for (int i = 0; i < KEYS / 16; i++)
#pragma unroll
            for (int j = 0; j < WIDTH / 16; j++)
            {
                u32 b[4];
                int row = i * 16 + ((lane >> 3) & 1) * 8 + (lane & 7), column = j * 2 + (lane >> 4);
                loadTurned(b, values + row * LINE + ((column ^ (row & 7)) * 16));
                multiply(sums[j * 2], weights[i * 2][0], weights[i * 2][1], weights[i * 2 + 1][0], weights[i * 2 + 1][1], b[0], b[1]);
                multiply(sums[j * 2 + 1], weights[i * 2][0], weights[i * 2][1], weights[i * 2 + 1][0], weights[i * 2 + 1][1], b[2], b[3]);
            }
        __syncthreads(); // all have read: the stage may be written
    }
#pragma unroll
    for (int r = 0; r < 2; r++)
    {
        total[r] += __shfl_xor_sync(0xFFFFFFFFu, total[r], 1);
        total[r] += __shfl_xor_sync(0xFFFFFFFFu, total[r], 2);
        if (tokenOf[r] < 0)
            continue;
        float* to = floats(p.output, tokenOf[r]) + headOf[r] * WIDTH + q * 2;
#pragma unroll
        for (int j = 0; j < WIDTH / 8; j++)
            to[j * 8] = sums[j][r * 2] / total[r], to[j * 8 + 1] = sums[j][r * 2 + 1] / total[r];
    }
}

extern "C" __global__ void __launch_bounds__(WARPS * 32, 1) prefill64(PrefillArguments p) { attend<64>(p); }
extern "C" __global__ void __launch_bounds__(WARPS * 32, 1) prefill128(PrefillArguments p) { attend<128>(p); }
