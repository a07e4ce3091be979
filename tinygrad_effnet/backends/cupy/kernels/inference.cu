// What only use without gradients has a kernel for.

// The gates of squeeze-excitation, C N, from the pooled means, C N:
//
//     gate = sigmoid(expand silu(reduce pooled + reduce_bias) + expand_bias)        reduce: S C, expand: S C (transposed)
//
// A block does an image: its means and what they are reduced to lie in shared memory.
template <typename T>
__global__ void gates(const Wide<T> *pooled, const T *reduce, const T *reduce_bias, const T *expand,
                      const T *expand_bias, int images, int channels, int squeezed, Wide<T> *gate) {
    using A = Wide<T>;
    DYNAMIC_SHARED(A, means);
    A *const active = means + channels;
    const int n = blockIdx.x, lane = threadIdx.x % WARP;
    for (int c = threadIdx.x; c < channels; c += blockDim.x) means[c] = pooled[c * images + n];
    __syncthreads();
    for (int s = threadIdx.x / WARP; s < squeezed; s += blockDim.x / WARP) {
        A sum = 0;
        for (int c = lane; c < channels; c += WARP) sum += wide(reduce[s * channels + c]) * means[c];
        sum = warp_sum(sum);
        if (lane == 0) active[s] = silu(sum + wide(reduce_bias[s]));
    }
    __syncthreads();
    for (int c = threadIdx.x; c < channels; c += blockDim.x) {
        A sum = wide(expand_bias[c]);
        for (int s = 0; s < squeezed; ++s) sum += wide(expand[s * channels + c]) * active[s];
        gate[c * images + n] = sigmoid(sum);
    }
}
