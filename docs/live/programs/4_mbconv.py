# EfficientNet's block, forwards, backwards, and one step of NAdam.
import numpy as np
import tinygrad_effnet as tg
from tinygrad_effnet import nn, optim

tg.manual_seed(0)
block = nn.MBConv(4, 4, kernel_size=3, expand_ratio=2)
optimizer = optim.NAdam(block.named_parameters(), lr=0.01)
x = tg.Tensor(np.random.default_rng(0).standard_normal((2, 4, 6, 6)), dtype="float32")

loss = (block(x) ** 2.0).mean()
loss.backward()
optimizer.step()
print("loss", loss.item())
