// Depthwise convolution with any window, straight from memory: for filters, strides and dilations without a kernel of
// their own in depthwise.cu. Tap (i, j) at output (ho, wo) meets the pixel
//
//     h = ho * stride + i * dilation - pad        w likewise
#include "channel.cuh"

// y, C N Ho Wo; the grid is (blocks, channels), a thread for each output.
template <typename T>
__global__ void any_forward(const T *x, const T *w, int images, int height, int width, int out_height, int out_width,
                            int kernel_height, int kernel_width, int stride_h, int stride_w, int dilation_h,
                            int dilation_w, int pad_top, int pad_left, T *y) {
    const int channel = blockIdx.y, length = images * out_height * out_width;
    const T *filter = w + channel * kernel_height * kernel_width;
    for (int i = blockIdx.x * blockDim.x + threadIdx.x; i < length; i += gridDim.x * blockDim.x) {
        const int wo = i % out_width, ho = i / out_width % out_height, n = i / out_width / out_height;
        const T *plane = x + (channel * images + n) * height * width;
        Wide<T> sum = 0;
        for (int r = 0; r < kernel_height; ++r) {
            const int h = ho * stride_h + r * dilation_h - pad_top;
            if (h < 0 || h >= height) continue;
            for (int c = 0; c < kernel_width; ++c) {
                const int v = wo * stride_w + c * dilation_w - pad_left;
                if (v >= 0 && v < width) sum += wide(plane[h * width + v]) * wide(filter[r * kernel_width + c]);
            }
        }
        y[channel * length + i] = T(sum);
    }
}

// dx, C N H W; the grid is (blocks, channels), a thread for each pixel.
template <typename T>
__global__ void any_input_grad(const T *dy, const T *w, int images, int height, int width, int out_height,
                               int out_width, int kernel_height, int kernel_width, int stride_h, int stride_w,
                               int dilation_h, int dilation_w, int pad_top, int pad_left, T *dx) {
    const int channel = blockIdx.y, length = images * height * width;
    const T *filter = w + channel * kernel_height * kernel_width;
    for (int i = blockIdx.x * blockDim.x + threadIdx.x; i < length; i += gridDim.x * blockDim.x) {
        const int v = i % width, h = i / width % height, n = i / width / height;
        const T *plane = dy + (channel * images + n) * out_height * out_width;
        Wide<T> sum = 0;
        for (int r = 0; r < kernel_height; ++r) {
            const int down = h + pad_top - r * dilation_h;
            if (down < 0 || down % stride_h || down / stride_h >= out_height) continue;
            for (int c = 0; c < kernel_width; ++c) {
                const int across = v + pad_left - c * dilation_w;
                if (across < 0 || across % stride_w || across / stride_w >= out_width) continue;
                sum += wide(plane[down / stride_h * out_width + across / stride_w]) *
                       wide(filter[r * kernel_width + c]);
            }
        }
        dx[channel * length + i] = T(sum);
    }
}

// dw, C taps; the grid is (taps, channels), a block for each number.
template <typename T>
__global__ void any_weight_grad(const T *x, const T *dy, int images, int height, int width, int out_height,
                                int out_width, int kernel_height, int kernel_width, int stride_h, int stride_w,
                                int dilation_h, int dilation_w, int pad_top, int pad_left, T *dw) {
    const int channel = blockIdx.y, length = images * out_height * out_width;
    const int down = blockIdx.x / kernel_width * dilation_h - pad_top;
    const int across = blockIdx.x % kernel_width * dilation_w - pad_left;
    double total[1] = {0};
    for (int i = threadIdx.x; i < length; i += blockDim.x) {
        const int wo = i % out_width, ho = i / out_width % out_height, n = i / out_width / out_height;
        const int h = ho * stride_h + down, v = wo * stride_w + across;
        if (h < 0 || h >= height || v < 0 || v >= width) continue;
        total[0] += wide(x[((channel * images + n) * height + h) * width + v]) * wide(dy[channel * length + i]);
    }
    block_sum(total);
    if (threadIdx.x == 0) dw[channel * gridDim.x + blockIdx.x] = T(Wide<T>(total[0]));
}
