// Multi-head latent attention in its absorbed form, over a bfloat16 cache on the tensor cores.

struct LatentArguments
{
    Tensor output, query, latents; // [tokens, heads·512], [tokens, heads·576], bfloat16 cache
    Paged batch;
    float* partial; // [tokens · head tiles · teams] of 16 · (512 + 4)
    int* tickets;   // [tokens · head tiles · blocks of a team], zero between launches
    int heads, parts;
    float scale;
};

#define RANK 512
#define WIDTH 576
#define QUERY_PITCH 608 // rows start 16 banks apart
#define KEYS 64
#define KEY_PITCH 584   // rows start 4 banks apart
#define WEIGHT_PITCH 72
#define LATENT_PITCH (RANK + 4)

// Block: a token, 16 heads, a part of the context, 64 keys at a time in shared memory. Four warps score 16 keys each, then each
// gathers 128 columns of all 64. Split: a context is cut into parts, which are merged as in Attention.cu.
template <bool SPLIT>
__device__ void attend(const LatentArguments& p)
{
    extern __shared__ __align__(16) u16 memory[]; // [KEYS, KEY_PITCH], [16, QUERY_PITCH]
    __shared__ __align__(16) u16 weights[16 * WEIGHT_PITCH];
    __shared__ float tops[4][16], totals[4][16];
    __shared__ int arrived;
    letNext();
    u16* query = memory + KEYS * KEY_PITCH;
    int lane = threadIdx.x & 31, warp = threadIdx.x >> 5, g = lane >> 2, q = lane & 3, token = blockIdx.z, firstHead = blockIdx.y * 16;
    int limit = *ints(p.batch.positions, token) + 1, least = partSize(limit, 64, 2048), teams = SPLIT ? (limit + least * TEAM - 1) / (least * TEAM) : 1;
    int size = SPLIT ? ((limit + teams * TEAM - 1) / (teams * TEAM) + 15) & ~15 : limit;
    if (SPLIT && blockIdx.x >= teams * TEAM)
        return;
    int start = min(limit, (int)blockIdx.x * size), end = min(limit, start + size), sequence = sequenceOf(p.batch, token);
    const u16* latents = (const u16*)p.latents.address;
    // Eight threads copy a key; those of 16 keys behind the end are left out.
    auto bring = [&](int base)
    {
        const u16* from[KEYS / 16];
#pragma unroll
        for (int i = 0; i < KEYS / 16; i++)
            from[i] = latents + cacheAt(p.batch, p.latents, sequence, min(base + i * 16 + (int)threadIdx.x / 8, limit - 1), 0, WIDTH) + threadIdx.x % 8 * 8;
#pragma unroll
        for (int i = 0; i < KEYS / 16; i++)
            if (base + i * 16 < end)
            {
                u32 to = sharedAddress(memory + (i * 16 + threadIdx.x / 8) * KEY_PITCH + threadIdx.x % 8 * 8);
#pragma unroll
                for (int j = 0; j < WIDTH / 64; j++)
                    copyAsync(to + j * 128, from[i] + j * 64, true);
            }
        commitCopies();
    };
    // All but the step's own positions, which the kernel before this one writes, are there before that has ended.
    bool early = SPLIT && end < limit;
    if (early)
        bring(start);
    await();
    if (!early && start < end)
        bring(start);
#pragma unroll 9
    for (int i = 0; i < 16 * WIDTH / 4 / 128; i++)
    {
        int item = threadIdx.x + i * 128, row = item / (WIDTH / 4), column = item % (WIDTH / 4) * 4;
        float4 from = firstHead + row < p.heads ? *(const float4*)(floats(p.query, token) + (firstHead + row) * WIDTH + column) : make_float4(0, 0, 0, 0);
        *(uint2*)(query + row * QUERY_PITCH + column) = make_uint2(pack(from.x, from.y), pack(from.z, from.w));
    }
    float sums[16][4] = {}; // column warp·128 + c·64 + n·8 + j is column n of tile c·8 + j
    float most[2] = {-INFINITY, -INFINITY}, total[2] = {};
    for (int base = start; base < end; base += KEYS)
    {
        if (base > start)
        {
            __syncthreads();
            bring(base);
        }
        awaitCopies<0>();
        __syncthreads();
        float scores[2][4] = {}, others[2][4] = {}; // more chains of products wait less
        const u16* from = memory + (warp * 16 + g) * KEY_PITCH + q * 8;
#pragma unroll 6
        for (int i = 0; i < WIDTH / 32; i++)
        {
            uint4 upper4 = *(const uint4*)(query + g * QUERY_PITCH + i * 32 + q * 8), lower4 = *(const uint4*)(query + (g + 8) * QUERY_PITCH + i * 32 + q * 8);
#pragma unroll
            for (int half = 0; half < 2; half++)
            {
                uint4 key = *(const uint4*)(from + half * 8 * KEY_PITCH + i * 32);
                multiply(scores[half], upper4.x, lower4.x, upper4.y, lower4.y, key.x, key.y);
                multiply(others[half], upper4.z, lower4.z, upper4.w, lower4.w, key.z, key.w);
            }
        }
        float top[2] = {-INFINITY, -INFINITY};
#pragma unroll
        for (int half = 0; half < 2; half++)
#pragma unroll
            for (int e = 0; e < 4; e++)
            {
                int key = base + warp * 16 + half * 8 + q * 2 + (e & 1);
                scores[half][e] = key < end ? (scores[half][e] + others[half][e]) * p.scale : -INFINITY;
                top[e >> 1] = fmaxf(top[e >> 1], scores[half][e]);
            }
#pragma unroll
        for (int r = 0; r < 2; r++)
        {
            top[r] = fmaxf(top[r], __shfl_xor_sync(0xFFFFFFFFu, top[r], 1));
            top[r] = fmaxf(top[r], __shfl_xor_sync(0xFFFFFFFFu, top[r], 2));
            if (q == 0)
                tops[warp][g + r * 8] = top[r];
        }
        __syncthreads();
#pragma unroll
        for (int r = 0; r < 2; r++)
        {
            float larger = most[r];
            for (int i = 0; i < 4; i++)
                larger = fmaxf(larger, tops[i][g + r * 8]);
            float keep = __expf(most[r] - larger), sum = 0;
            most[r] = larger;
#pragma unroll
            for (int half = 0; half < 2; half++)
            {
                u32 pair = pack(__expf(scores[half][r * 2] - larger), __expf(scores[half][r * 2 + 1] - larger));
                sum += lower(pair) + upper(pair);
                ((u32*)weights)[((g + r * 8) * WEIGHT_PITCH + warp * 16 + half * 8 + q * 2) / 2] = pair;
            }
            total[r] = total[r] * keep + sum;
#pragma unroll
            for (int tile = 0; tile < 16; tile++)
                sums[tile][r * 2] *= keep, sums[tile][r * 2 + 1] *= keep;
        }
        __syncthreads();
#pragma unroll
        for (int k = 0; k < KEYS / 16; k++)
        {
            if (base + k * 16 >= end)
                break;
            uint4 v[4][2];
#pragma unroll
            for (int i = 0; i < 4; i++)
            {
                const u16* at = memory + (k * 16 + 2 * q + (i & 1) + (i >> 1) * 8) * KEY_PITCH + warp * 128 + g * 8;
                v[i][0] = *(const uint4*)at, v[i][1] = *(const uint4*)(at + 64);
            }
            const u32* w = (const u32*)weights + (k * 16 + q * 2) / 2;
            u32 a0 = w[g * WEIGHT_PITCH / 2], a1 = w[(g + 8) * WEIGHT_PITCH / 2], a2 = w[g * WEIGHT_PITCH / 2 + 4], a3 = w[(g + 8) * WEIGHT_PITCH / 2 + 4];
#pragma unroll
            for (int c = 0; c < 2; c++)
#pragma unroll
                for (int j = 0; j < 8; j++)
                {
                    u32 order = j & 1 ? 0x7632 : 0x5410;
                    multiply(sums[c * 8 + j], a0, a1, a2, a3,
                        __byte_perm((&v[0][c].x)[j / 2], (&v[1][c].x)[j / 2], order), __byte_perm((&v[2][c].x)[j / 2], (&v[3][c].x)[j / 2], order));
                }
        }
    }
#pragma unroll
    for (int r = 0; r < 2; r++)
    {
        total[r] += __shfl_xor_sync(0xFFFFFFFFu, total[r], 1);
        total[r] += __shfl_xor_sync(0xFFFFFFFFu, total[r], 2);
        if (q == 0)
            totals[warp][g + r * 8] = total[r];
    }
    __syncthreads();
    float* own = (float*)memory; // [16, LATENT_PITCH]: the keys are done with
#pragma unroll
    for (int r = 0; r < 2; r++)
    {
        int row = g + r * 8;
        float all = totals[0][row] + totals[1][row] + totals[2][row] + totals[3][row];
        float* to = SPLIT ? own + row * LATENT_PITCH : floats(p.output, token) + (firstHead + row) * RANK;
        if (!SPLIT && firstHead + row >= p.heads)
            continue;
        float factor = SPLIT ? 1.0f : 1 / all;
#pragma unroll
        for (int i = 0; i < 16; i += 4)
#pragma unroll
            for (int e = 0; e < 2; e++)
                *(float4*)(to + warp * 128 + i / 8 * 64 + (2 * q + e) * 8 + i % 8) = make_float4(
                    sums[i][r * 2 + e] * factor, sums[i + 1][r * 2 + e] * factor, sums[i + 2][r * 2 + e] * factor, sums[i + 3][r * 2 + e] * factor);
        if (SPLIT && q == 0 && warp == 0)
            *(float4*)(to + RANK) = make_float4(most[r], all, 0, 0);
    }
    if (!SPLIT)
        return;
    meet();
    // Each block adds up its share of the rows over all blocks of its team, a thread four columns of a row.
    int place = token * gridDim.y + blockIdx.y, rank = blockIdx.x % TEAM, column = threadIdx.x * 4, each = p.parts / TEAM;
    float* partial = p.partial + (long long)place * each * 16 * LATENT_PITCH;
    auto finish = [&](int row, const Share& whole)
    {
        float4 sum = whole.sum;
        if (firstHead + row < p.heads)
            *(float4*)(floats(p.output, token) + (firstHead + row) * RANK + column) = make_float4(sum.x / whole.total, sum.y / whole.total, sum.z / whole.total, sum.w / whole.total);
    };
    for (int row = rank; row < 16; row += TEAM)
    {
        float4 theirs[TEAM], ends[TEAM];
#pragma unroll
        for (int i = 0; i < TEAM; i++)
            theirs[i] = peek(own + row * LATENT_PITCH + column, i), ends[i] = peek(own + row * LATENT_PITCH + RANK, i);
        Share mine = {make_float4(0, 0, 0, 0), -INFINITY, 0};
#pragma unroll
        for (int i = 0; i < TEAM; i++)
            mine.add(theirs[i], ends[i]);
        if (teams == 1)
            finish(row, mine);
        else
        {
            float* to = partial + (blockIdx.x / TEAM * 16 + row) * LATENT_PITCH;
            *(float4*)(to + column) = mine.sum;
            if (column == 0)
                *(float4*)(to + RANK) = make_float4(mine.most, mine.total, 0, 0);
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
        for (int row = rank; arrived == teams - 1 && row < 16; row += TEAM)
        {
            __threadfence();
            Share mine = {make_float4(0, 0, 0, 0), -INFINITY, 0};
#pragma unroll 4
            for (int team = 0; team < teams; team++)
            {
                const float* from = partial + (team * 16 + row) * LATENT_PITCH;
                mine.add(loadFresh(from + column), loadFresh(from + RANK));
            }
            finish(row, mine);
        }
        if (threadIdx.x == 0 && arrived == teams - 1)
            *ticket = 0;
    }
    gather();
}

extern "C" __global__ void __launch_bounds__(128) attendLatent(LatentArguments p) { attend<false>(p); }
extern "C" __global__ void __cluster_dims__(TEAM, 1, 1) __launch_bounds__(128) attendLatentFew(LatentArguments p) { attend<true>(p); }
