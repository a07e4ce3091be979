"""What a pixel of a feature map sees
=====================================

A gradient answers which pixels of the image a number deep in the network depends on. Here the number is the middle of
the last feature map at each scale of EfficientNet-B0. The gradient with respect to the image is laid out as a picture:
the *effective receptive field* (Luo et al. 2016). It grows with depth, and its middle counts most.
Squeeze-and-excitation looks at the whole image, so that in fact every pixel has some influence; the scale of the
colours is logarithmic.
"""

import sys
from pathlib import Path

if "__file__" in globals():  # run from a source tree, installed or not
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import matplotlib.pyplot as plt
import numpy as np

import tinygrad_effnet as tg
from tinygrad_effnet import nn

SIZE = 128
tg.manual_seed(0)
network = nn.create_model("efficientnet_b0", features_only=True).eval()

# %%
# One gradient is an accident of the weights and the image. The mean of its size over a few images is not.
fields = []
for seed in range(4):
    image = tg.Tensor(np.random.default_rng(seed).standard_normal((1, 3, SIZE, SIZE)), dtype="float32")
    image.requires_grad_()
    maps = network(image)
    for scale, features in enumerate(maps):
        middle = features[:, :, features.shape[2] // 2, features.shape[3] // 2]
        signs = tg.Tensor(np.random.default_rng(scale).choice([-1.0, 1.0], middle.shape), dtype="float32")
        (slope,) = tg.grad((middle * signs).sum(), image, retain_graph=True)
        fields.append((scale, np.abs(slope.numpy()).sum(axis=(0, 1))))

# %%
# From the whole of the image the field of the first map takes a spot, and that of the last nearly all.
figure, axes = plt.subplots(1, len(maps), figsize=(10, 2.6), layout="constrained")
for scale, ax in enumerate(axes):
    mean = np.mean([field for k, field in fields if k == scale], axis=0)
    ax.imshow(np.log10(mean / mean.max() + 1e-4), cmap="magma", vmin=-4, vmax=0)
    ax.set_title(f"1/{SIZE // maps[scale].shape[2]} of the side, {maps[scale].shape[1]} channels", fontsize=8)
    ax.axis("off")
plt.show()
