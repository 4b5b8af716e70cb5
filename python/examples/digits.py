# %% [markdown]
# # Handwritten digits, from the data to a classifier that can be looked at
#
# Run it cell by cell (Jupyter with jupytext, VS Code, Spyder), or as a whole: `python digits.py`.
# It takes matplotlib, and the digits that scikit-learn ships.

# %%
import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_digits
from sklearn.metrics import ConfusionMatrixDisplay
from sklearn.model_selection import train_test_split

from softmargin import HingeClassifier, SoftmaxClassifierCV

X, y = load_digits(return_X_y=True)
X = (X / 16).astype(np.float32)
X_train, X_test, y_train, y_test = train_test_split(X, y, test_size=0.3, stratify=y, random_state=0)
print(f"{len(y_train)} images of {X.shape[1]} pixels to train on, {len(y_test)} to test on")

# %% [markdown]
# ## How much to regularise
#
# Five folds choose λ: the least mean loss of images that were held out. The bars are standard errors; where they overlap,
# the larger λ is as good a choice.

# %%
model = SoftmaxClassifierCV(l2s=np.logspace(0, -5, 11), cv=5).fit(X_train, y_train)

figure, axes = plt.subplots(figsize=(6, 4), layout="constrained")
axes.errorbar(model.l2s_, model.mean_losses_, model.standard_errors_, marker="o", capsize=3)
axes.axvline(model.l2_, color="tab:red", linestyle=":", label=f"chosen: λ = {model.l2_:.3g}")
axes.set(xscale="log", yscale="log", xlabel="λ", ylabel="mean loss of held-out images")
axes.legend()
plt.show()

# %% [markdown]
# ## How good it is
#
# `gap_` bounds how far the fit is from the optimum of its objective: what the model gets wrong is not the solver's fault.

# %%
print(f"accuracy: {100 * model.score(X_test, y_test):.1f} %, at most {model.gap_:.1e} above the optimum")

figure, axes = plt.subplots(figsize=(5.5, 5), layout="constrained")
ConfusionMatrixDisplay.from_estimator(model, X_test, y_test, cmap="Blues", colorbar=False, ax=axes)
axes.set_title("Test images")
plt.show()

# %% [markdown]
# ## What it looks at
#
# The weights of a class are an image: red pixels speak for the digit, blue ones against it.

# %%
largest = np.abs(model.coef_).max()
figure, grid = plt.subplots(2, 5, figsize=(8, 3.6), layout="constrained")
for axes, digit, weights in zip(grid.flat, model.classes_, model.coef_):
    axes.imshow(weights.reshape(8, 8), cmap="RdBu_r", vmin=-largest, vmax=largest)
    axes.set_title(digit)
    axes.set_axis_off()
plt.show()

# %% [markdown]
# ## What it is not sure of
#
# The test images whose label has the least probability, each with what the model takes it for.

# %%
probability = model.predict_proba(X_test)
of_label = probability[np.arange(len(y_test)), y_test]
figure, grid = plt.subplots(1, 6, figsize=(8, 2), layout="constrained")
for axes, i in zip(grid, np.argsort(of_label)):
    axes.imshow(X_test[i].reshape(8, 8), cmap="gray_r")
    axes.set_title(f"{y_test[i]}: {100 * of_label[i]:.1f} %\nor {probability[i].argmax()}?", fontsize=9)
    axes.set_axis_off()
plt.show()

# %% [markdown]
# ## The same by a support vector machine
#
# The hinge looks only at images near the borders between digits. Its objective has kinks, which most solvers do not get
# past; `gap_` shows that this one did.

# %%
machine = HingeClassifier(l2=1e-3, tol=1e-4).fit(X_train, y_train)
print(f"hinge: {100 * machine.score(X_test, y_test):.1f} %, at most {machine.gap_:.1e} above the optimum")
