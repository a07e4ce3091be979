// What is done to one channel at a time. Images are channel-major, C N H W, so a channel is a row of length N H W.
//
//     t = (x - centre) * scale + shift        batch norm, scale = gamma / sqrt(var + eps)
//     act = silu(t)
//
// Several blocks share a channel. Where they need a sum over all of it, one kernel leaves each block's share (`sums`, in
// double), and the blocks of the next kernel all add these up, in one order: no atomics, and no launch in between.

// The numbers begin..end of its channel that a block does; the grid is (blocks a channel, channels).
struct Part {
    int channel, row, begin, end;

    __device__ Part(int length, int chunk)
        : channel(blockIdx.y), row(channel * length), begin(blockIdx.x * chunk), end(begin + min(chunk, length - begin)) {}
};

// Writes a block's share of COUNT sums: sums is C, parts, COUNT.
template <int COUNT>
__device__ void leave_sums(double (&share)[COUNT], int channel, int part, int parts, double *sums) {
    block_sum(share);
    if (threadIdx.x == 0)
        for (int k = 0; k < COUNT; ++k) sums[(channel * parts + part) * COUNT + k] = share[k];
}

// Adds up what `leave_sums` left for a channel.
template <int COUNT>
__device__ void collect_sums(double (&total)[COUNT], int channel, int parts, const double *sums) {
    for (int k = 0; k < COUNT; ++k) total[k] = 0;
    for (int part = threadIdx.x; part < parts; part += blockDim.x)
        for (int k = 0; k < COUNT; ++k) total[k] += sums[(channel * parts + part) * COUNT + k];
    block_sum(total);
}

// Batch norm of one channel; what rounding the mean to `centre` loses goes into the shift.
template <typename T>
struct Form {
    Wide<T> centre, scale, shift;

    __device__ Wide<T> operator()(T x) const { return (wide(x) - centre) * scale + shift; }

    __device__ void set(double mean, double var, double gamma, double beta, double eps) {
        centre = Wide<T>(mean);
        const double exact = gamma / root(var + eps);
        scale = Wide<T>(exact);
        shift = Wide<T>(beta - (mean - double(centre)) * exact);
    }
};

// The form of a channel, for the whole block. Without `sums` (from the kernel `moments`) mean and var are given; with
// them they are results, written by the channel's first block.
template <typename T>
__device__ Form<T> channel_form(const T *x, int length, int channel, const Wide<T> *gamma, const Wide<T> *beta,
                                double eps, const double *sums, int parts, Wide<T> *mean, Wide<T> *var) {
    __shared__ Form<T> form;
    double total[2] = {0, 0};
    if (sums) collect_sums(total, channel, parts, sums);
    if (threadIdx.x == 0) {
        double m, v;
        if (sums) {
            const double d = total[0] / length, square = total[1] / length - d * d;
            m = double(wide(x[channel * length])) + d;
            v = square < 0 ? 0 : square;  // a NaN is not less than 0 and stays
            if (blockIdx.x == 0) mean[channel] = Wide<T>(m), var[channel] = Wide<T>(v);
        } else {
            m = mean[channel], v = var[channel];
        }
        form.set(m, v, gamma[channel], beta[channel], eps);
    }
    __syncthreads();
    return form;
}

// scale * (g - a - (x - centre) * b): batch norm's gradient, g being the gradient of t.
template <typename T>
struct Back {
    Wide<T> centre, scale, a, b;

    __device__ Wide<T> operator()(T x, Wide<T> g) const { return scale * ((g - a) - (wide(x) - centre) * b); }
};

// From the channel's sums of g and of g * (x - mean). `share` is 1 / length, or 0 where mean and var are constants.
template <typename T>
__device__ Back<T> channel_back(const double (&total)[2], int channel, const Wide<T> *gamma, const Wide<T> *mean,
                                const Wide<T> *var, double eps, double share, Wide<T> *dgamma, Wide<T> *dbeta) {
    __shared__ Back<T> back;
    if (threadIdx.x == 0) {
        const double inv_std = 1 / root(double(var[channel]) + eps), dscale = total[1] * inv_std;
        back.centre = mean[channel];
        back.scale = Wide<T>(gamma[channel] * inv_std);
        back.a = Wide<T>(total[0] * share);
        back.b = Wide<T>(dscale * inv_std * share);
        if (blockIdx.x == 0) dgamma[channel] = Wide<T>(dscale), dbeta[channel] = Wide<T>(total[0]);
    }
    __syncthreads();
    return back;
}
