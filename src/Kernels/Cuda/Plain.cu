// Attention for caches in single precision and for widths that the tensor-core kernels do not take: a block per row and head.

struct PlainArguments
{
    Tensor output, query, keys, values;
    Paged batch;
    int heads, cacheHeads, width, valueWidth, valuePitch, brain, window;
    float scale;
};

#define MOST_WIDTH 1088

extern "C" __global__ void __launch_bounds__(128) attendPlain(PlainArguments p)
{
    __shared__ float query[MOST_WIDTH], sums[MOST_WIDTH], weights[128], room[33];
    enter();
    int row = blockIdx.x, head = blockIdx.y, cacheHead = head / (p.heads / p.cacheHeads);
    int sequence = sequenceOf(p.batch, row), limit = *ints(p.batch.positions, row) + 1;
    for (int i = threadIdx.x; i < p.width; i += 128)
        query[i] = floats(p.query, row)[head * p.width + i] * p.scale;
    for (int i = threadIdx.x; i < p.valueWidth; i += 128)
        sums[i] = 0;
    float most = -INFINITY, total = 0;
    int first = p.window > 0 && limit > p.window ? limit - p.window : 0;
    for (int base = first; base < limit; base += 128)
    {
        __syncthreads();
        int key = base + threadIdx.x;
        float score = -INFINITY;
        if (key < limit)
        {
            long long at = cacheAt(p.batch, p.keys, sequence, key, cacheHead, p.width);
            score = 0;
            if (p.brain)
                for (int i = 0; i < p.width; i++)
                    score += query[i] * widen(((const u16*)p.keys.address)[at + i]);
            else
                for (int i = 0; i < p.width; i++)
                    score += query[i] * ((const float*)p.keys.address)[at + i];
        }
        float larger = fmaxf(most, blockMax(score, room)), keep = __expf(most - larger);
        float weight = key < limit ? __expf(score - larger) : 0;
        weights[threadIdx.x] = weight;
        total = total * keep + blockSum(weight, room);
        most = larger;
        int keys = limit - base < 128 ? limit - base : 128;
        for (int i = threadIdx.x; i < p.valueWidth; i += 128)
        {
            float sum = sums[i] * keep;
            for (int k = 0; k < keys; k++)
            {
                long long at = cacheAt(p.batch, p.values, sequence, base + k, cacheHead, p.valuePitch) + i;
                sum += weights[k] * (p.brain ? widen(((const u16*)p.values.address)[at]) : ((const float*)p.values.address)[at]);
            }
            sums[i] = sum;
        }
    }
    for (int i = threadIdx.x; i < p.valueWidth; i += 128)
        floats(p.output, row)[head * p.valueWidth + i] = sums[i] / total;
}

struct ItemsArguments { Tensor output, query, keys, values; int span, heads, width; float scale; };

// Rows of an item attend to all rows of it: the patches of an image.
extern "C" __global__ void __launch_bounds__(128) attendItems(ItemsArguments p)
{
    __shared__ float query[MOST_WIDTH], sums[MOST_WIDTH], weights[128], room[33];
    enter();
    int row = blockIdx.x, column = blockIdx.y * p.width, first = row / p.span * p.span;
    for (int i = threadIdx.x; i < p.width; i += 128)
    {
        query[i] = floats(p.query, row)[column + i] * p.scale;
        sums[i] = 0;
    }
    float most = -INFINITY, total = 0;
    for (int base = 0; base < p.span; base += 128)
    {
        __syncthreads();
        int key = base + threadIdx.x;
        float score = -INFINITY;
        if (key < p.span)
        {
            const float* from = floats(p.keys, first + key) + column;
            score = 0;
            for (int i = 0; i < p.width; i++)
                score += query[i] * from[i];
        }
        float larger = fmaxf(most, blockMax(score, room)), keep = __expf(most - larger);
        float weight = key < p.span ? __expf(score - larger) : 0;
        weights[threadIdx.x] = weight;
        total = total * keep + blockSum(weight, room);
        most = larger;
        int keys = p.span - base < 128 ? p.span - base : 128;
        for (int i = threadIdx.x; i < p.width; i += 128)
        {
            float sum = sums[i] * keep;
            for (int k = 0; k < keys; k++)
                sum += weights[k] * floats(p.values, first + base + k)[column + i];
            sums[i] = sum;
        }
    }
    for (int i = threadIdx.x; i < p.width; i += 128)
        floats(p.output, row)[column + i] = sums[i] / total;
}
