"""Run the samples in TensorFlow Lite and save the outputs, as a user would by hand."""

import sys

import numpy as np

try:
    from tflite_runtime.interpreter import Interpreter
except ImportError:
    from ai_edge_litert.interpreter import Interpreter

model, samples, folder = sys.argv[1:]
interpreter = Interpreter(model_path=model, num_threads=1)
interpreter.allocate_tensors()
given = interpreter.get_input_details()[0]["index"]
wanted = interpreter.get_output_details()[0]["index"]
for index, sample in enumerate(np.load(samples)):
    interpreter.set_tensor(given, sample[None])
    interpreter.invoke()
    np.save(f"{folder}/tflite-{index}.npy", interpreter.get_tensor(wanted))
