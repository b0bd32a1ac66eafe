"""Run the samples in PyTorch and save the outputs, as a user would by hand."""

import sys
from pathlib import Path

sys.path.remove(str(Path(__file__).resolve().parent))  # this file is called torch.py

import numpy as np
import torch

torch.set_num_threads(1)
weights, samples, folder = sys.argv[1:]
held = {name: torch.from_numpy(array) for name, array in np.load(weights).items()}


class Network(torch.nn.Module):
    """The built-in model, layer by layer."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = torch.nn.Conv2d(3, 3, 3, padding=1)
        self.conv2 = torch.nn.Conv2d(3, 5, 5, padding=2)
        self.dense1 = torch.nn.Linear(320, 128)
        self.dense2 = torch.nn.Linear(128, 128)
        self.dense3 = torch.nn.Linear(128, 10)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """Take a picture of shape (1, 32, 32, 3) to ten probabilities."""
        x = image.permute(0, 3, 1, 2)
        x = torch.nn.functional.max_pool2d(torch.relu(self.conv1(x)), 2)
        x = torch.nn.functional.max_pool2d(torch.relu(self.conv2(x)), 2)
        x = x.permute(0, 2, 3, 1).flatten(1)
        x = torch.relu(self.dense2(torch.relu(self.dense1(x))))
        return torch.softmax(self.dense3(x), dim=1)


network = Network().eval()
with torch.inference_mode():
    for name, parameter in network.named_parameters():
        layer, kind = name.split(".")
        tensor = held[f"{layer}/{'kernel' if kind == 'weight' else 'bias'}"]
        parameter.copy_(tensor.T if layer.startswith("dense") and kind == "weight" else tensor)
    for index, sample in enumerate(np.load(samples)):
        output = network(torch.from_numpy(sample[None]))
        np.save(f"{folder}/torch-{index}.npy", output.numpy())
