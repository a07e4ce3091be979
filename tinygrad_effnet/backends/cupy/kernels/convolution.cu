// Convolution as a matrix product: only the columns are made here, the product is cuBLAS's. Tap (i, j) at output
// (ho, wo) meets the pixel
//
//     h = ho * stride + i * dilation - pad        w likewise

// columns, C taps N Ho Wo: what each output sees, zeros for the padding. The grid is (C taps, blocks): a block does a part
// of one row, and a thread of it neighbouring outputs, so that reads and writes are of neighbours too.
template <typename T>
__global__ void columns(const T *x, int images, int height, int width, int out_height, int out_width,
                        int kernel_height, int kernel_width, int stride_h, int stride_w, int dilation_h,
                        int dilation_w, int pad_top, int pad_left, T *seen) {
    const int taps = kernel_height * kernel_width, channel = blockIdx.x / taps, tap = blockIdx.x % taps;
    const int down = tap / kernel_width * dilation_h - pad_top, across = tap % kernel_width * dilation_w - pad_left;
    const int length = images * out_height * out_width;
    const T *source = x + channel * images * height * width;
    T *row = seen + blockIdx.x * length;
    const int start = blockIdx.y * blockDim.x + threadIdx.x, stride = gridDim.y * blockDim.x;
    Walk at(start, stride, out_width);
    for (int i = start; i < length; i += stride, at.next()) {
        const int n = at.row / out_height, h = at.row % out_height * stride_h + down, w = at.column * stride_w + across;
        const bool inside = h >= 0 && h < height && w >= 0 && w < width;
        row[i] = inside ? source[(n * height + h) * width + w] : T(Wide<T>(0));
    }
}

// The transpose of `columns`: x, C N H W, each pixel the sum of what its columns hold. The grid is (C, blocks).
template <typename T>
__global__ void fold(const T *seen, int images, int height, int width, int out_height, int out_width,
                     int kernel_height, int kernel_width, int stride_h, int stride_w, int dilation_h, int dilation_w,
                     int pad_top, int pad_left, T *x) {
    const int channel = blockIdx.x, length = images * height * width, row = images * out_height * out_width;
    const T *rows = seen + channel * kernel_height * kernel_width * row;
    const int start = blockIdx.y * blockDim.x + threadIdx.x, stride = gridDim.y * blockDim.x;
    Walk at(start, stride, width);
    for (int i = start; i < length; i += stride, at.next()) {
        const int n = at.row / height, h = at.row % height;
        Wide<T> sum = 0;
        for (int r = 0; r < kernel_height; ++r) {
            const int down = h + pad_top - r * dilation_h;
            if (down < 0 || down % stride_h || down / stride_h >= out_height) continue;
            for (int c = 0; c < kernel_width; ++c) {
                const int across = at.column + pad_left - c * dilation_w;
                if (across < 0 || across % stride_w || across / stride_w >= out_width) continue;
                const int place = (n * out_height + down / stride_h) * out_width + across / stride_w;
                sum += wide(rows[(r * kernel_width + c) * row + place]);
            }
        }
        x[channel * length + i] = T(sum);
    }
}
