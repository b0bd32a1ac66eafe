"""Run the samples in ONNX Runtime and save the outputs, as a user would by hand."""

import sys

import numpy as np
import onnxruntime

model, samples, folder = sys.argv[1:]
options = onnxruntime.SessionOptions()
options.intra_op_num_threads = 1
session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
name = session.get_inputs()[0].name
for index, sample in enumerate(np.load(samples)):
    (output,) = session.run(None, {name: sample[None]})
    np.save(f"{folder}/ort-{index}.npy", output)
