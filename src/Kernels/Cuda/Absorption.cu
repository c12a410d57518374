// What stands around attention over latents in its absorbed form: queries go to the latents' space, where the latents serve as keys and
// values of all heads, and each head's values are made from what was gathered.

struct AbsorbArguments
{
    Tensor query, absorbed, gathered, output; // [tokens, heads·(plain + rope)], [tokens, heads·(rank + rope)], [tokens, heads·rank], [tokens, heads·value]
    Tensor latent, gain, table, cache;        // with a table queries and latents come as they were projected
    Paged batch;
    Weight expand;                            // rows heads·(plain + value)
    int heads, plain, rope, value, rank, brain, brainCache, interleaved;
    float epsilon;
};

#define ABSORB_TOKENS 4
#define ABSORB_GROUPS 8
#define RELEASE_AHEAD 8
#define ABSORB_AHEAD 16 // rows of a group whose weights come early

// Two neighbouring columns of a row.
__device__ inline float2 elements(const Weight& w, int brain, long long row, int column)
{
    long long at = row * w.stride + column;
    if (!brain)
        return *(const float2*)((const float*)w.values + at);
    u32 pair = *(const u32*)((const u16*)w.values + at);
    return make_float2(lower(pair), upper(pair));
}

// A column of a run of values that is rotated.
__device__ inline float rotated(const AbsorbArguments& p, const float* values, int column, int position)
{
    int half = p.rope / 2, pair = p.interleaved ? column / 2 : column % half;
    int first = p.interleaved ? 2 * pair : pair, second = p.interleaved ? first + 1 : first + half;
    const float* turn = floats(p.table, position);
    float a = values[first], b = values[second], cosine = turn[pair], sine = turn[half + pair];
    return column == first ? a * cosine - b * sine : b * cosine + a * sine;
}

// A block brings a token's latent into the cache: its norm, and the shared key rotated.
__device__ void keepLatent(const AbsorbArguments& p, int token, float* room)
{
    const float* from = floats(p.latent, token);
    float squares = 0;
    for (int i = threadIdx.x; i < p.rank; i += 256)
        squares += from[i] * from[i];
    float factor = rsqrtf(blockSum(squares, room) / p.rank + p.epsilon);
    int position = *ints(p.batch.positions, token);
    long long to = cacheAt(p.batch, p.cache, sequenceOf(p.batch, token), position, 0, p.rank + p.rope);
    for (int i = threadIdx.x; i < p.rank + p.rope; i += 256)
    {
        float value = i < p.rank ? from[i] * factor * floats(p.gain, 0)[i] : rotated(p, from + p.rank, i - p.rank, position);
        if (p.brainCache)
            ((u16*)p.cache.address)[to + i] = narrow(value);
        else
            ((float*)p.cache.address)[to + i] = value;
    }
}

// Block: 64 columns of a head's latent and up to 4 tokens; eight groups of threads share the sum over the plain columns.
extern "C" __global__ void __launch_bounds__(256) absorb(AbsorbArguments p)
{
    __shared__ float query[ABSORB_TOKENS][1024], parts[ABSORB_GROUPS][ABSORB_TOKENS][64];
    int head = blockIdx.y, firstToken = blockIdx.z * ABSORB_TOKENS, width = p.plain + p.rope, x = threadIdx.x % 32 * 2, group = threadIdx.x / 32;
    int tokens = min(ABSORB_TOKENS, p.query.rows - firstToken), column = blockIdx.x * 64 + x;
    long long row = (long long)head * (p.plain + p.value);
    // Weights never change: the first ones are on their way before the queries are there.
    float2 ahead[ABSORB_AHEAD];
#pragma unroll
    for (int j = 0; j < ABSORB_AHEAD; j++)
        ahead[j] = column < p.rank && group + j * ABSORB_GROUPS < p.plain ? elements(p.expand, p.brain, row + group + j * ABSORB_GROUPS, column) : make_float2(0, 0);
    await();
    letNext(); // what comes next may count on all before this kernel
    if (p.table.address && blockIdx.x == gridDim.x - 1)
    {
        for (int token = head; token < tokens; token += p.heads)
            keepLatent(p, firstToken + token, query[0]);
        return;
    }
    for (int item = threadIdx.x; item < tokens * width; item += 256)
        query[item / width][item % width] = floats(p.query, firstToken + item / width)[head * width + item % width];
    __syncthreads();
    float sums[ABSORB_TOKENS][2] = {};
    if (column < p.rank)
    {
#pragma unroll
        for (int j = 0; j < ABSORB_AHEAD; j++)
            if (group + j * ABSORB_GROUPS < p.plain)
#pragma unroll
                for (int token = 0; token < ABSORB_TOKENS; token++)
                    sums[token][0] += ahead[j].x * query[token][group + j * ABSORB_GROUPS], sums[token][1] += ahead[j].y * query[token][group + j * ABSORB_GROUPS];
#pragma unroll 8
        for (int i = group + ABSORB_AHEAD * ABSORB_GROUPS; i < p.plain; i += ABSORB_GROUPS)
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
    else if (p.table.address)
        sum = rotated(p, query[token] + p.plain, column - p.rank, *ints(p.batch.positions, firstToken + token));
    else
        sum = query[token][p.plain + column - p.rank];
    floats(p.absorbed, firstToken + token)[head * (p.rank + p.rope) + column] = sum;
}

// A warp per value column of a head, up to 4 tokens.
extern "C" __global__ void __launch_bounds__(256) release(AbsorbArguments p)
{
    letNext();
    int item = blockIdx.x * 8 + (threadIdx.x >> 5), lane = threadIdx.x & 31, firstToken = blockIdx.y * ABSORB_TOKENS;
    if (item >= p.heads * p.value)
        return;
    int head = item / p.value, tokens = min(ABSORB_TOKENS, p.output.rows - firstToken);
    long long row = (long long)head * (p.plain + p.value) + p.plain + item % p.value;
    float2 ahead[RELEASE_AHEAD];
#pragma unroll
    for (int j = 0; j < RELEASE_AHEAD; j++)
        ahead[j] = lane * 2 + j * 64 < p.rank ? elements(p.expand, p.brain, row, lane * 2 + j * 64) : make_float2(0, 0);
    await();
    float sums[ABSORB_TOKENS] = {};
#pragma unroll
    for (int j = 0; j < RELEASE_AHEAD; j++)
        if (lane * 2 + j * 64 < p.rank)
#pragma unroll
            for (int token = 0; token < ABSORB_TOKENS; token++)
                if (token < tokens)
                {
                    float2 from = *(const float2*)(floats(p.gathered, firstToken + token) + head * p.rank + lane * 2 + j * 64);
                    sums[token] += ahead[j].x * from.x + ahead[j].y * from.y;
                }
#pragma unroll 8
    for (int i = lane * 2 + RELEASE_AHEAD * 64; i < p.rank; i += 64)
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
