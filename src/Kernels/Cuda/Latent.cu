// Multi-head latent attention in its absorbed form: queries go to the latents' space, the latents serve as keys and values of
// all heads, and each head's values are made from what was gathered.

struct AbsorbArguments
{
    Tensor query, absorbed, gathered, output; // [tokens, heads·(plain + rope)], [tokens, heads·(rank + rope)], [tokens, heads·rank], [tokens, heads·value]
    Weight expand;                            // rows heads·(plain + value)
    int heads, plain, rope, value, rank, brain;
};

#define ABSORB_TOKENS 4
#define ABSORB_GROUPS 8

// Two neighbouring columns of a row.
__device__ inline float2 elements(const Weight& w, int brain, long long row, int column)
{
    long long at = row * w.stride + column;
    if (!brain)
        return *(const float2*)((const float*)w.values + at);
    u32 pair = *(const u32*)((const u16*)w.values + at);
    return make_float2(lower(pair), upper(pair));
}

// Block: 64 columns of a head's latent and up to 4 tokens; eight groups of threads share the sum over the plain columns.
extern "C" __global__ void __launch_bounds__(256) absorb(AbsorbArguments p)
{
    __shared__ float query[ABSORB_TOKENS][1024], parts[ABSORB_GROUPS][ABSORB_TOKENS][64];
    enter();
    int head = blockIdx.y, firstToken = blockIdx.z * ABSORB_TOKENS, width = p.plain + p.rope, x = threadIdx.x % 32 * 2, group = threadIdx.x / 32;
    int tokens = min(ABSORB_TOKENS, p.query.rows - firstToken), column = blockIdx.x * 64 + x;
    for (int item = threadIdx.x; item < tokens * width; item += 256)
        query[item / width][item % width] = floats(p.query, firstToken + item / width)[head * width + item % width];
    __syncthreads();
    float sums[ABSORB_TOKENS][2] = {};
    if (column < p.rank)
    {
        long long row = (long long)head * (p.plain + p.value);
#pragma unroll 8
        for (int i = group; i < p.plain; i += ABSORB_GROUPS)
        {
            float2 value = elements(p.expand, p.brain, row + i, column);
#pragma unroll
            for (int token = 0; token < ABSORB_TOKENS; token++)
                sums[token][0] += value.x * query[token][i], sums[token][1] += value.y * query[token][i];
        }
    }
#pragma unroll
    for (int token = 0; token < ABSORB_TOKENS; token++)
        parts[group][token][x] = sums[token][0], parts[group][token][x + 1] = sums[token][1];
    __syncthreads();
    int token = threadIdx.x / 64;
    column = blockIdx.x * 64 + threadIdx.x % 64;
    if (token >= tokens || column >= p.rank + p.rope)
        return;
    float sum = 0;
    if (column < p.rank)
        for (int i = 0; i < ABSORB_GROUPS; i++)
            sum += parts[i][token][threadIdx.x % 64];
    else
        sum = query[token][p.plain + column - p.rank];
    floats(p.absorbed, firstToken + token)[head * (p.rank + p.rope) + column] = sum;
}

// A warp per value column of a head, up to 4 tokens.
extern "C" __global__ void __launch_bounds__(256) release(AbsorbArguments p)
{
    enter();
    int item = blockIdx.x * 8 + (threadIdx.x >> 5), lane = threadIdx.x & 31, firstToken = blockIdx.y * ABSORB_TOKENS;
    if (item >= p.heads * p.value)
        return;
    int head = item / p.value, tokens = min(ABSORB_TOKENS, p.output.rows - firstToken);
    long long row = (long long)head * (p.plain + p.value) + p.plain + item % p.value;
    float sums[ABSORB_TOKENS] = {};
#pragma unroll 8
    for (int i = lane * 2; i < p.rank; i += 64)
    {
        float2 value = elements(p.expand, p.brain, row, i);
#pragma unroll
        for (int token = 0; token < ABSORB_TOKENS; token++)
            if (token < tokens)
            {
                float2 from = *(const float2*)(floats(p.gathered, firstToken + token) + head * p.rank + i);
                sums[token] += value.x * from.x + value.y * from.y;
            }
    }
#pragma unroll
    for (int token = 0; token < ABSORB_TOKENS; token++)
    {
        float sum = warpSum(sums[token]);
        if (lane == 0 && token < tokens)
            floats(p.output, firstToken + token)[item] = sum;
    }
}

struct LatentArguments
{
    Tensor output, query, latents; // [tokens, heads·512], [tokens, heads·576], bfloat16 cache
    Paged batch;
    float* partial; // [tokens · head tiles · parts] of 16 · (512 + 4)
    int heads, parts, split, teams; // teams: eight blocks add their parts up before they leave them
    float scale;
};

#define RANK 512
#define WIDTH 576
#define QUERY_PITCH 608 // rows start 16 banks apart
#define KEYS 64
#define KEY_PITCH 584   // rows start 4 banks apart
#define WEIGHT_PITCH 72
#define LATENT_PITCH (RANK + 4)
#define TEAM 8

#if __CUDA_ARCH__ >= 900
// 16 bytes of another block's shared memory.
__device__ inline float4 peek(const float* mine, int block)
{
    float4 v;
    asm volatile("{ .reg .b32 a; mapa.shared::cluster.u32 a, %4, %5; ld.shared::cluster.v4.f32 {%0,%1,%2,%3}, [a]; }"
        : "=f"(v.x), "=f"(v.y), "=f"(v.z), "=f"(v.w) : "r"(sharedAddress(mine)), "r"(block) : "memory");
    return v;
}
__device__ inline void meet() { asm volatile("barrier.cluster.arrive.aligned;\nbarrier.cluster.wait.aligned;" ::: "memory"); }
#else
__device__ inline float4 peek(const float* mine, int block) { return *(const float4*)mine; }
__device__ inline void meet() { __syncthreads(); }
#endif

// Block: a token, 16 heads, a part of the context, 64 keys at a time in shared memory. Four warps score 16 keys each, then each
// gathers 128 columns of all 64.
template <bool TEAMS>
__device__ void attend(const LatentArguments& p)
{
    extern __shared__ __align__(16) u16 memory[]; // [KEYS, KEY_PITCH], [16, QUERY_PITCH]
    __shared__ __align__(16) u16 weights[16 * WEIGHT_PITCH];
    __shared__ float tops[4][16], totals[4][16];
    enter();
    u16* query = memory + KEYS * KEY_PITCH;
    int lane = threadIdx.x & 31, warp = threadIdx.x >> 5, g = lane >> 2, q = lane & 3, token = blockIdx.z, firstHead = blockIdx.y * 16;
    int limit = *ints(p.batch.positions, token) + 1, size = p.split ? partSize(limit, 64, 2048) : limit, parts = (limit + size - 1) / size;
    if ((TEAMS ? blockIdx.x / TEAM * TEAM : blockIdx.x) >= parts)
        return;
    int start = min(limit, (int)blockIdx.x * size), end = min(limit, start + size), sequence = sequenceOf(p.batch, token);
    const u16* latents = (const u16*)p.latents.address;
    // Eight threads copy a key.
    auto bring = [&](int base)
    {
#pragma unroll
        for (int i = 0; i < KEYS / 16; i++)
        {
            int key = i * 16 + threadIdx.x / 8, piece = threadIdx.x % 8;
            const u16* from = latents + cacheAt(p.batch, p.latents, sequence, min(base + key, limit - 1), 0, WIDTH) + piece * 8;
            u32 to = sharedAddress(memory + key * KEY_PITCH + piece * 8);
#pragma unroll
            for (int j = 0; j < WIDTH / 64; j++)
                copyAsync(to + j * 128, from + j * 64, true);
        }
        commitCopies();
    };
    if (start < end)
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
        float scores[2][4] = {};
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
                multiply(scores[half], upper4.z, lower4.z, upper4.w, lower4.w, key.z, key.w);
            }
        }
    float top[2] = {-INFINITY, -INFINITY};
#pragma unroll
        for (int half = 0; half < 2; half++)
#pragma unroll
            for (int e = 0; e < 4; e++)
            {
                int key = base + warp * 16 + half * 8 + q * 2 + (e & 1);
                scores[half][e] = key < end ? scores[half][e] * p.scale : -INFINITY;
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
    int place = token * gridDim.y + blockIdx.y;
    float* mine = p.partial + ((long long)place * p.parts + blockIdx.x / (TEAMS ? TEAM : 1)) * 16 * LATENT_PITCH;
    bool whole = parts <= (TEAMS ? TEAM : 1);
    float* own = (float*)memory; // [16, LATENT_PITCH]: the keys are done with
#pragma unroll
    for (int r = 0; r < 2; r++)
    {
        int row = g + r * 8;
        float all = totals[0][row] + totals[1][row] + totals[2][row] + totals[3][row];
        float* to = TEAMS ? own + row * LATENT_PITCH : whole ? floats(p.output, token) + (firstHead + row) * RANK : mine + row * LATENT_PITCH;
        if (!TEAMS && whole && firstHead + row >= p.heads)
            continue;
        float factor = !TEAMS && whole ? 1 / all : 1.0f;
#pragma unroll
        for (int i = 0; i < 16; i += 4)
#pragma unroll
            for (int e = 0; e < 2; e++)
                *(float4*)(to + warp * 128 + i / 8 * 64 + (2 * q + e) * 8 + i % 8) = make_float4(
                    sums[i][r * 2 + e] * factor, sums[i + 1][r * 2 + e] * factor, sums[i + 2][r * 2 + e] * factor, sums[i + 3][r * 2 + e] * factor);
        if ((TEAMS || !whole) && q == 0 && warp == 0)
            to[RANK] = most[r], to[RANK + 1] = all;
    }
    if (!TEAMS)
        return;
    meet();
    // Each block adds up its share of the columns over all blocks.
    for (int item = blockIdx.x % TEAM * (16 * RANK / 4 / TEAM) + threadIdx.x, i = 0; i < 16 * RANK / 4 / TEAM / 128; i++, item += 128)
    {
        int row = item / (RANK / 4), column = item % (RANK / 4) * 4;
        float4 theirs[TEAM], ends[TEAM], sum = make_float4(0, 0, 0, 0);
        float best = -INFINITY, all = 0;
#pragma unroll
        for (int part = 0; part < TEAM; part++)
        {
            theirs[part] = peek(own + row * LATENT_PITCH + column, part), ends[part] = peek(own + row * LATENT_PITCH + RANK, part);
            best = fmaxf(best, ends[part].x);
        }
#pragma unroll
        for (int part = 0; part < TEAM; part++)
        {
            float factor = ends[part].x == -INFINITY ? 0.0f : __expf(ends[part].x - best);
            sum.x += theirs[part].x * factor, sum.y += theirs[part].y * factor, sum.z += theirs[part].z * factor, sum.w += theirs[part].w * factor;
            all += ends[part].y * factor;
        }
        if (whole)
        {
            if (firstHead + row < p.heads)
                *(float4*)(floats(p.output, token) + (firstHead + row) * RANK + column) = make_float4(sum.x / all, sum.y / all, sum.z / all, sum.w / all);
            continue;
        }
        *(float4*)(mine + row * LATENT_PITCH + column) = sum;
        if (column == 0)
            mine[row * LATENT_PITCH + RANK] = best, mine[row * LATENT_PITCH + RANK + 1] = all;
    }
    meet();
}

extern "C" __global__ void __launch_bounds__(128) attendLatent(LatentArguments p) { attend<false>(p); }
#if __CUDA_ARCH__ >= 900
extern "C" __global__ void __cluster_dims__(TEAM, 1, 1) __launch_bounds__(128) attendLatentFew(LatentArguments p) { attend<true>(p); }
#endif

// Adds the parts of a head up in order: a block per head and token.
extern "C" __global__ void __launch_bounds__(128) mergeLatent(LatentArguments p)
{
    __shared__ float shares[1024];
    enter();
    int head = blockIdx.x, token = blockIdx.y, lane = threadIdx.x & 31;
    int limit = *ints(p.batch.positions, token) + 1, size = partSize(limit, 64, 2048), parts = (limit + size - 1) / size;
    if (p.teams)
        parts = (parts + TEAM - 1) / TEAM;
    if (parts == 1)
        return;
    int place = token * ((p.heads + 15) / 16) + head / 16;
    const float* from = p.partial + ((long long)place * p.parts * 16 + head % 16) * LATENT_PITCH;
    if (threadIdx.x < 32)
    {
        float most = -INFINITY, total = 0;
        for (int part = lane; part < parts; part += 32)
            most = fmaxf(most, from[part * 16 * LATENT_PITCH + RANK]);
        most = warpMax(most);
        for (int part = lane; part < parts; part += 32)
        {
            float share = __expf(from[part * 16 * LATENT_PITCH + RANK] - most);
            shares[part] = share;
            total += share * from[part * 16 * LATENT_PITCH + RANK + 1];
        }
        total = warpSum(total);
        for (int part = lane; part < parts; part += 32)
            shares[part] /= total;
    }
    __syncthreads();
    float4 sum = make_float4(0, 0, 0, 0);
#pragma unroll 8
    for (int part = 0; part < parts; part++)
    {
        float4 theirs = *(const float4*)(from + part * 16 * LATENT_PITCH + threadIdx.x * 4);
        float share = shares[part];
        sum.x += share * theirs.x, sum.y += share * theirs.y, sum.z += share * theirs.z, sum.w += share * theirs.w;
    }
    *(float4*)(floats(p.output, token) + head * RANK + threadIdx.x * 4) = sum;
}
