// Values on their way in: small uploads, weights as files hold them, random weights.

struct Segment { char* to; const char* from; int bytes, unused; };
struct ScatterArguments { Segment segments[32]; int count; };

// Copies many small pieces of pinned host memory to their places. Lets no kernel start early: later ones may read what was uploaded
// before the kernels between have ended.
extern "C" __global__ void scatter(ScatterArguments p)
{
    await();
    Segment s = p.segments[blockIdx.x];
    int words = ((u64)s.to & 3) == 0 ? s.bytes >> 2 : 0;
    for (int i = threadIdx.x; i < words; i += blockDim.x)
        ((u32*)s.to)[i] = ((const u32*)s.from)[i];
    for (int i = words * 4 + threadIdx.x; i < s.bytes; i += blockDim.x)
        s.to[i] = s.from[i];
}

enum { SINGLE, BRAIN, BLOCKS, HALVES, FLOATS };

struct TakeArguments { Weight weight; const char* from; const float* factors; long long first, count; int before, source, kind; };

__device__ inline float stored(const char* from, int kind, long long row, int columns, int column)
{
    long long at = row * columns + column;
    if (kind == SINGLE)
        return ((const float*)from)[at];
    if (kind == BRAIN)
        return widen(((const u16*)from)[at]);
    if (kind == HALVES)
        return fromHalf(((const u16*)from)[at]);
    const char* block = from + at / 32 * 34;
    u16 scale = (u16)((u8)block[0] | (u8)block[1] << 8);
    return fromHalf(scale) * (float)(signed char)block[2 + at % 32];
}

__device__ inline void keepBlock(const Weight& w, long long row, int column, const float* values)
{
    float most = 0;
    for (int i = 0; i < 32; i++)
        most = fmaxf(most, fabsf(values[i]));
    float scale = __fdiv_rn(most, 127.0f), inverse = scale == 0 ? 0 : __fdiv_rn(1.0f, scale);
    w.scales[(row * w.stride + column) / 32] = toHalf(scale);
    for (int i = 0; i < 32; i++)
    {
        float scaled = __fmul_rn(values[i], inverse);
        float whole = truncf(scaled);
        if (fabsf(__fsub_rn(scaled, whole)) >= 0.5f)
            whole += scaled < 0 ? -1.0f : 1.0f;
        w.values[row * w.stride + column + i] = (char)(int)whole;
    }
}

// Takes rows [first, first + count) from `from` into the weight: one thread for each 32 columns of a row.
extern "C" __global__ void take(TakeArguments p)
{
    enter();
    int groups = p.weight.stride / 32;
    long long item = (long long)blockIdx.x * blockDim.x + threadIdx.x;
    if (item >= p.count * groups)
        return;
    long long from = item / groups, row = p.first + from;
    int column = (int)(item % groups) * 32, columns = p.weight.columns;
    if (p.kind == BLOCKS && p.source == BLOCKS)
    {
        const char* block = p.from + (from * columns + column) / 32 * 34;
        p.weight.scales[(row * p.weight.stride + column) / 32] = (u16)((u8)block[0] | (u8)block[1] << 8);
        for (int i = 0; i < 32; i++)
            p.weight.values[row * p.weight.stride + column + i] = block[2 + i];
        return;
    }
    if (p.source == FLOATS)
    {
        // A factor for each square of 128 x 128 values, counted from the piece's first row, becomes one for each row and 128 columns.
        if (column % 128 == 0)
            ((float*)p.weight.scales)[row * ((p.weight.stride + 127) / 128) + column / 128] = p.factors[(p.before + from) / 128 * ((columns + 127) / 128) + column / 128];
        for (int i = 0; i < 32; i++)
            p.weight.values[row * p.weight.stride + column + i] = column + i < columns ? p.from[from * columns + column + i] : 0;
        return;
    }
    float values[32];
    for (int i = 0; i < 32; i++)
        values[i] = column + i < columns ? stored(p.from, p.source, from, columns, column + i) : 0.0f;
    if (p.kind == BLOCKS)
        keepBlock(p.weight, row, column, values);
    else if (p.kind == SINGLE)
        for (int i = 0; i < 32; i++)
            ((float*)p.weight.values)[row * p.weight.stride + column + i] = values[i];
    else
        for (int i = 0; i < 32; i++)
            ((u16*)p.weight.values)[row * p.weight.stride + column + i] = narrow(values[i]);
}

struct RandomArguments { Weight weight; long long first, count; u64 seed; float scale; int kind; };

__device__ inline u64 mixed(u64 value)
{
    value = (value ^ (value >> 30)) * 0xBF58476D1CE4E5B9ull;
    value = (value ^ (value >> 27)) * 0x94D049BB133111EBull;
    return value ^ (value >> 31);
}

// Random rows: four draws of 16 bits from each mixed counter, as the host makes them.
extern "C" __global__ void randomize(RandomArguments p)
{
    enter();
    int groups = p.weight.stride / 32;
    for (long long item = (long long)blockIdx.x * blockDim.x + threadIdx.x; item < p.count * groups; item += (long long)gridDim.x * blockDim.x)
    {
        long long from = item / groups, row = p.first + from;
        int column = (int)(item % groups) * 32;
        float values[32];
        u64 draws = 0;
        long long drawn = -1;
        for (int i = 0; i < 32; i++)
        {
            long long at = from * p.weight.columns + column + i;
            if (at / 4 != drawn)
                draws = mixed(p.seed + (u64)((drawn = at / 4) + 1) * 0x9E3779B97F4A7C15ull);
            float value = (float)(short)(draws >> (16 * (int)(at % 4))) * p.scale;
            // Random weights are bfloat16 before they are anything else.
            values[i] = column + i < p.weight.columns ? widen(narrow(value)) : 0.0f;
        }
        if (p.kind == BLOCKS)
            keepBlock(p.weight, row, column, values);
        else if (p.kind == SINGLE)
            for (int i = 0; i < 32; i++)
                ((float*)p.weight.values)[row * p.weight.stride + column + i] = values[i];
        else
            for (int i = 0; i < 32; i++)
                ((u16*)p.weight.values)[row * p.weight.stride + column + i] = narrow(values[i]);
    }
}
