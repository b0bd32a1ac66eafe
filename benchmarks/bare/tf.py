"""Run the samples in TensorFlow's Keras and save the outputs, as a user would by hand."""

import os
import sys

os.environ["TF_CPP_MIN_LOG_LEVEL"] = "2"

import numpy as np
import tensorflow as tf

tf.config.threading.set_intra_op_parallelism_threads(1)
tf.config.threading.set_inter_op_parallelism_threads(1)
model, samples, folder = sys.argv[1:]
network = tf.keras.models.load_model(model, compile=False)
for index, sample in enumerate(np.load(samples)):
    output = network(sample[None], training=False)
    np.save(f"{folder}/tf-{index}.npy", output.numpy())
