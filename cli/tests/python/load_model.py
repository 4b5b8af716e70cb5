"""Loads a model with scikit-learn, and with PyTorch if there is any, and prints what it predicts as JSON."""

import json
import sys

import numpy as np
from safetensors.numpy import load_file
from sklearn.linear_model import LogisticRegression

path, features = sys.argv[1], np.load(sys.argv[2])
tensors = load_file(path)

model = LogisticRegression()
model.coef_, model.intercept_ = tensors["weight"], tensors["bias"]
model.classes_ = np.arange(len(model.intercept_))
predicted = {
    "scikit-learn": {
        "labels": model.predict(features).tolist(),
        "probabilities": model.predict_proba(features).tolist(),
    }
}

try:
    import torch
except ModuleNotFoundError:
    pass
else:
    from safetensors.torch import load_file as load_torch

    linear = torch.nn.Linear(*reversed(tensors["weight"].shape))
    linear.load_state_dict(load_torch(path))
    with torch.no_grad():
        scores = linear(torch.from_numpy(features))
    predicted["PyTorch"] = {
        "labels": scores.argmax(1).tolist(),
        "probabilities": scores.softmax(1).tolist(),
    }

json.dump(predicted, sys.stdout)
