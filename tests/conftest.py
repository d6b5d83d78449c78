"""What every test shares."""

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")  # the tensors are tiny: a second thread would only wait

import torch

torch.set_num_threads(1)
